"""JSON Schemas (draft 2020-12, as OpenAPI 3.1 takes them) of what goes in and what comes out."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

MAX_ROWS = 1000
MAX_NUMBER = 64
STATES = (
    "AUTHORIZED", "ANSWERED", "REFUSED", "COMPLETED", "BUSY", "NO_ANSWER", "CANCELLED", "REJECTED", "UNREACHABLE",
    "FAILED", "LOST",
)  # fmt: skip

TOKEN: Schema = {"type": "string", "pattern": "^[0-9]{8,20}$", "description": "The digits an agent dials."}
ALIAS: Schema = {
    "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$",
    "description": "The tenant's own handle of a token, such as a customer ID. Never a telephone number.",
}  # fmt: skip
AGENT: Schema = {"type": "string", "pattern": r"^[^\u0000-\u001f\u007f-\u009f\ud800-\udfff]{1,64}$"}
MOMENT: Schema = {"type": "string", "format": "date-time", "maxLength": 40}
BUSINESS_ID: Schema = {
    "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    "description": "The tenant's own ID of a task, an order or a campaign. Never a telephone number.",
}  # fmt: skip
PHONE_USER: Schema = {
    "type": "string", "pattern": "^[A-Za-z0-9._+-]{1,64}$",
    "description": "The agent's user name at the tenant's domain.",
}  # fmt: skip
PERMISSION_STATES = ("valid", "early", "used_up", "expired", "revoked")
UUID: Schema = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "format": "uuid"}
CURSOR: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$"}
STATE: Schema = {"type": "string", "enum": list(STATES)}


def nullable(schema: Schema) -> Schema:
    """Return the schema that takes null too."""
    return {"anyOf": [schema, {"type": "null"}]}


def closed(properties: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object with these properties and no others."""
    return {
        "type": "object", "properties": properties, "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }  # fmt: skip


def ref(name: str) -> Schema:
    """Return the reference of a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(schema: Schema, **more: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema, **more}


_TEXT: Schema = {"type": "string"}
_NEW_TOKEN = closed(
    {
        "number": {
            "type": "string", "minLength": 1, "maxLength": MAX_NUMBER, "writeOnly": True,
            "description": "E.164 with +, or as the tenant's country writes it. No answer ever holds it.",
        },
        "alias": ALIAS,
        "expires_at": {**MOMENT, "description": "When the token ends; without it, never."},
        "labels": {
            "type": "object", "additionalProperties": {"type": "string", "maxLength": 512},
            "description": "Kept beside the token. Refused where one holds a number, an ID card or a bank card.",
        },
    },
    optional=("alias", "expires_at", "labels"),
)  # fmt: skip
_REJECTED = closed({
    "reason": {"type": "string", "description": "Such as number.invalid, alias.taken, label.holds_number."},
    "number": {"type": "string", "description": "The number, masked but for its last two digits."},
})  # fmt: skip

COMPONENTS: dict[str, Schema] = {
    "NewToken": _NEW_TOKEN,
    "NewTokens": closed({"rows": listed(ref("NewToken"), minItems=1, maxItems=MAX_ROWS)}),
    "MadeToken": closed({
        "token": TOKEN,
        "created": {"type": "boolean", "description": "false: the number had this token already."},
    }),
    "MadeTokens": closed({
        "rows": listed({"anyOf": [ref("MadeToken"), closed({"rejected": ref("Rejected")})]}),
        "created": {"type": "integer"}, "existing": {"type": "integer"}, "rejected": {"type": "integer"},
    }),
    "Rejected": _REJECTED,
    "Token": closed({
        "token": TOKEN, "aliases": listed(ALIAS), "status": {"type": "string", "enum": ["active", "revoked"]},
        "expires_at": nullable(MOMENT), "country": nullable(_TEXT), "region": nullable(_TEXT),
        "time_zone": nullable(_TEXT), "line_type": nullable(_TEXT),
        "labels": {
            "type": "object", "additionalProperties": _TEXT,
            "description": "A label shows as *** unless the tenant's mask for it is clear.",
        },
        "created_at": MOMENT,
    }),
    "Expiry": closed({"expires_at": nullable({**MOMENT, "description": "A moment past or future; null: never."})}),
    "NewPermission": closed(
        {
            "id": {**UUID, "description": "Drawn by you: the same again changes nothing. Without it one is drawn."},
            "token": TOKEN,
            "alias": {**ALIAS, "description": "In place of the token; resolved when the permission is granted."},
            "agent": {**PHONE_USER, "description": "Who may dial; without it, every agent."},
            "from": {**MOMENT, "description": "Not before; without it, from now on."},
            "until": {**MOMENT, "description": "Not from then on; without it, for a day. At most 366 days ahead."},
            "calls": nullable({
                "type": "integer", "minimum": 1, "maximum": 10_000,
                "description": "How often in all; without it once, null: as often as caps allow.",
            }),
            "campaign": BUSINESS_ID,
            "ref": {**BUSINESS_ID, "description": "The business ID its calls carry."},
        },
        optional=("id", "token", "alias", "agent", "from", "until", "calls", "campaign", "ref"),
    ),
    "Permission": closed({
        "id": UUID, "token": TOKEN, "agent": nullable(_TEXT), "from": MOMENT, "until": MOMENT,
        "calls": nullable({"type": "integer"}), "used": {"type": "integer"}, "campaign": nullable(BUSINESS_ID),
        "ref": nullable(BUSINESS_ID), "state": {"type": "string", "enum": list(PERMISSION_STATES)},
        "granted_at": MOMENT, "revoked_at": nullable(MOMENT),
    }),
    "Permissions": closed({"permissions": listed(ref("Permission")), "next": nullable(CURSOR)}),
    "NewClick": closed(
        {"agent": {**PHONE_USER, "description": "Whose phone rings."}, "token": TOKEN, "alias": ALIAS,
         "ref": {**BUSINESS_ID, "description": "The business ID the call carries, before that of its permission."}},
        optional=("token", "alias", "ref"),
    ),
    "Click": closed({
        "id": {**UUID, "description": "The agent's leg in FreeSWITCH, and `channel` of the call it becomes."},
        "agent": _TEXT, "token": TOKEN, "ref": nullable(BUSINESS_ID),
        "state": {
            "type": "string", "enum": ["ASKED", "TAKEN", "FAILED", "VOID"],
            "description": "ASKED: the agent's phone rings; TAKEN: answered, it is a call; FAILED: not answered, see "
            "cause; VOID: FreeSWITCH was away, no phone rang.",
        },
        "cause": nullable(_TEXT), "call": nullable({**UUID, "description": "The call it became."}), "asked_at": MOMENT,
    }),
    "Blocked": closed({"token": TOKEN, "blocked": {"type": "boolean"}, "since": nullable(MOMENT)}),
    "Blocklist": closed({"tokens": listed(ref("Blocked")), "next": nullable(CURSOR)}),
    "Call": closed({
        "id": UUID, "direction": {"type": "string", "enum": ["outbound", "inbound"]}, "state": STATE,
        "agent": nullable(_TEXT), "agents": listed(_TEXT), "token": nullable(TOKEN), "alias": nullable(ALIAS),
        "ref": nullable({**_TEXT, "description": "The business ID of its permission or click."}),
        "referred_by": nullable(UUID),
        "channel": nullable(UUID), "gateway": nullable(_TEXT), "hangup_cause": nullable(_TEXT),
        "sip_code": nullable({"type": "integer"}), "attempts": {"type": "integer"}, "started_at": MOMENT,
        "ringing_at": nullable(MOMENT), "answered_at": nullable(MOMENT), "ended_at": nullable(MOMENT),
        "ended_before": nullable(MOMENT), "ended_by": nullable(_TEXT), "talk_s": nullable({"type": "number"}),
    }),
    "Calls": closed({
        "calls": listed(ref("Call")),
        "next": nullable({**CURSOR, "description": "The cursor of the next page; null: there is none."}),
    }),
    "Problem": {
        "type": "object", "description": "RFC 9457; error_id is one of docs/errors.md.",
        "properties": {
            "type": {"type": "string"}, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT,
            "error_id": {"type": "string", "pattern": "^[a-z_]+\\.[a-z_0-9]+$"}, "reason": _TEXT,
        },
        "required": ["type", "title", "status", "detail", "error_id"],
    },
}  # fmt: skip
