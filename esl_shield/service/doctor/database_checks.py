"""What PostgreSQL must be: this release's schema, no rights but those shipped, a server that keeps what it said."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from esl_shield.db import shipped_sql
from esl_shield.db.logins import quiet_settings
from esl_shield.db.schema import GROUP_ROLES, OWNER
from esl_shield.service.doctor.catalog import DatabaseFacts
from esl_shield.service.doctor.finding import Area, Check, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_VERSION = 140000
_HELD = "Run `esl-shield db upgrade`; if that changes nothing, look in the server's log who did."
_C, _W, _I = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_LATER_MONTHS = 2
_SYNCHRONOUS = ("on", "remote_write", "remote_apply")
_LOGGING_LIBRARIES = ("auto_explain", "pgaudit")


def _version(facts: DatabaseFacts) -> Iterator[str]:
    if facts.version < LEAST_VERSION:
        yield f"PostgreSQL is version {facts.version // 10000}"


def _revision(facts: DatabaseFacts) -> Iterator[str]:
    owned = facts.owned
    if owned.revision != owned.head:
        yield f"the tables are at revision {owned.revision}, this release's at {owned.head}"


def _functions(facts: DatabaseFacts) -> Iterator[Problem | str]:
    wanted = shipped_sql.functions()
    for name in sorted(wanted.keys() - facts.functions.keys()):
        yield f"the function {name} is missing"
    for name in sorted(facts.functions.keys() - wanted.keys()):
        yield f"there is a function {name} that this release does not ship"
    for name in sorted(wanted.keys() & facts.functions.keys()):
        if len(facts.functions[name]) > 1:
            yield f"there are {len(facts.functions[name])} functions {name}"
        for source, definer, settings, owner in facts.functions[name]:
            if source != wanted[name].source:
                yield f"the body of {name} is not the one this release ships"
            if definer != wanted[name].definer or {setting.lower() for setting in settings} != wanted[name].settings:
                yield f"{name} is not SECURITY DEFINER, or has other settings than shipped"
            if owner != OWNER:
                yield f"{name} belongs to {owner}"


def _views(facts: DatabaseFacts) -> Iterator[str]:
    yield from _differences("view dba.", *facts.owned.views)


def _policies(facts: DatabaseFacts) -> Iterator[str]:
    yield from _differences("policy shield.", *facts.owned.policies)


def _differences(what: str, there: dict[str, str], shipped: dict[str, str]) -> Iterator[str]:
    for name in sorted(there.keys() | shipped.keys()):
        if name not in there:
            yield f"the {what}{name} is missing"
        elif name not in shipped:
            yield f"there is a {what}{name} that this release does not ship"
        elif there[name] != shipped[name]:
            yield f"the {what}{name} is not the one this release ships"


def _row_security(facts: DatabaseFacts) -> Iterator[str]:
    for name, (enabled, forced, _) in sorted(facts.tables.items()):
        if not (enabled and forced):
            yield f"row-level security is {'not forced' if enabled else 'off'} on shield.{name}"


def _owners(facts: DatabaseFacts) -> Iterator[str]:
    for name in facts.foreign_owners:
        yield f"{name} does not belong to {OWNER}"


def _rights(facts: DatabaseFacts) -> Iterator[str]:
    wanted = shipped_sql.rights()
    for who, right, what in sorted(facts.rights - wanted):
        yield f"{who} has {right} on {what}"
    for who, right, what in sorted(wanted - facts.rights):
        yield f"{who} lacks {right} on {what}"


def _default_rights(facts: DatabaseFacts) -> Iterator[str]:
    for who in sorted(facts.default_rights):
        yield f"{who} gets EXECUTE on every function {OWNER} makes"


def _triggers(facts: DatabaseFacts) -> Iterator[str]:
    for what in facts.triggers:
        yield f"there is a {what}, which this release does not ship"


def _groups(facts: DatabaseFacts) -> Iterator[str]:
    for name in (OWNER, *GROUP_ROLES):
        role = facts.roles.get(name)
        if role is None:
            yield f"the role {name} is missing"
        elif role.login or role.powers:
            yield f"the role {name} has {', '.join(sorted(role.powers)) or 'LOGIN'}"
        elif role.member_of - ({*GROUP_ROLES} if name == OWNER else set()):
            yield f"the role {name} is a member of {', '.join(sorted(role.member_of))}"


def _logins(facts: DatabaseFacts) -> Iterator[Problem | str]:
    for role in facts.roles.values():
        ours = sorted(role.member_of & {*GROUP_ROLES})
        if not ours or role.name == OWNER or "SUPERUSER" in role.powers:
            continue
        if OWNER in role.member_of:
            continue  # an administrator: told by the check of administrators
        if len(ours) > 1:
            yield f"{role.name} is a member of {' and '.join(ours)}"
        if role.member_of - {*ours}:
            yield f"{role.name} is a member of {', '.join(sorted(role.member_of - {*ours}))} too"
        if role.powers:
            yield f"{role.name} has {', '.join(sorted(role.powers))}"


def _mapped(facts: DatabaseFacts) -> Iterator[Problem | str]:
    mapped = facts.owned.mapped
    for login, role in sorted(mapped.items()):
        known = facts.roles.get(login)
        if known is None:
            yield Problem(f"{login} is mapped and no role of the cluster", "Make it with `esl-shield db login`.", _W)
        elif f"shield_{role}" not in known.member_of:
            yield f"{login} is mapped as {role} and no member of shield_{role}"
    for member in facts.roles.values():
        groups = member.member_of & {*GROUP_ROLES}
        if groups and member.login and member.name not in mapped:
            yield f"{member.name} is a member of {', '.join(sorted(groups))} and not mapped: it gets nothing"


def _administrators(facts: DatabaseFacts) -> Iterator[str]:
    names = sorted(
        r.name for r in facts.roles.values() if r.login and ("SUPERUSER" in r.powers or OWNER in r.member_of)
    )
    yield f"these logins may change everything: {', '.join(names)}"


def _login(facts: DatabaseFacts) -> Iterator[str]:
    role = facts.roles.get(facts.login)
    if role is None:
        return
    wanted = OWNER if facts.role == "admin" else f"shield_{facts.role}"
    if "SUPERUSER" in role.powers:
        if facts.role != "admin":
            yield f"the {facts.role}'s configuration names {facts.login}, a superuser"
    elif wanted not in role.member_of:
        yield f"the {facts.role}'s configuration names {facts.login}, which is no member of {wanted}"


def _log(facts: DatabaseFacts) -> Iterator[Problem | str]:
    for role in facts.roles.values():
        if not role.login or OWNER in role.member_of:
            continue
        wanted: dict[str, str] = {}
        for group in role.member_of & {*GROUP_ROLES}:
            wanted |= quiet_settings(group.removeprefix("shield_"))
        stand = facts.login_settings.get(role.name, {})
        missing = sorted(name for name, value in wanted.items() if stand.get(name) != value)
        if missing:
            lines = " ".join(f"ALTER ROLE \"{role.name}\" SET {name} = '{wanted[name]}';" for name in missing)
            yield Problem(
                f"statements of {role.name}, which carry tokens, may get into the server's log",
                f"As a superuser: {lines}",
            )
    loaded = ",".join(
        facts.settings.get(name, "") for name in ("shared_preload_libraries", "session_preload_libraries")
    )
    for library in _LOGGING_LIBRARIES:
        if library in loaded:
            yield Problem(f"{library} is loaded, which writes statements too", f"Turn {library} off for our logins.")


def _durable(facts: DatabaseFacts) -> Iterator[Problem | str]:
    for name in ("fsync", "full_page_writes"):
        if facts.settings.get(name) != "on":
            yield Problem(f"{name} is {facts.settings.get(name)}", f"postgresql.conf: {name} = on")
    if facts.settings.get("synchronous_commit") not in _SYNCHRONOUS:
        value = facts.settings.get("synchronous_commit")
        yield Problem(
            f"synchronous_commit is {value}: a crash forgets audit events of calls that went out",
            "synchronous_commit = on",
            _W,
        )


def _encrypted(facts: DatabaseFacts) -> Iterator[str]:
    if facts.over_network and not facts.encrypted:
        yield "this connection goes over the network without TLS"
    elif facts.over_network and "sslmode=verify-full" not in facts.config.database.url:
        yield "this connection has TLS and does not check the server's name (sslmode=verify-full)"


def _months(facts: DatabaseFacts) -> Iterator[str]:
    today = dt.datetime.now(dt.UTC).date()
    for ahead in range(_LATER_MONTHS + 1):
        month = (today.replace(day=1) + dt.timedelta(days=31 * ahead)).strftime("%Y_%m")
        if month not in facts.months:
            yield f"calls and audit events of {month.replace('_', '-')} have no partition of their own"
            return


def _indexes(facts: DatabaseFacts) -> Iterator[str]:
    for table, index in facts.unindexed:
        yield f"shield.{table} lacks the index {index}, or its building failed"


AREA = Area[DatabaseFacts](
    "database",
    "PostgreSQL, with the login of the configuration; what is marked *owner* takes the administrator's",
    (
        Check("database.version", _C, "PostgreSQL is 14 or later",
              "Our functions use multiranges and what came with 14.", "Upgrade PostgreSQL.", _version),
        Check("database.login", _C, "The configuration's login is of its role",
              "A process with another's login fails, or can do more than it should.",
              "Make one with `esl-shield db login`.", _login),
        Check("database.revision", _C, "The tables are those of this release",
              "Program and tables must fit each other. (*owner*)", "Run `esl-shield db upgrade`.", _revision),
        Check("database.functions", _C, "Every function is the one this release ships, and there is no other",
              "The rules no taken-over worker can break live in these functions: whoever replaces one breaks them.",
              _HELD, _functions),
        Check("database.views", _C, "Every view of dba is the one this release ships",
              "A changed view shows an auditor what somebody wants him to see. (*owner*)", _HELD, _views),
        Check("database.policies", _C, "Every row-level security policy is the one this release ships",
              "A policy more is a door between tenants. (*owner*)", _HELD, _policies),
        Check("database.row_security", _C, "Every table forces row-level security",
              "Without it a login sees every tenant's rows.",
              "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, and look who changed it.",
              _row_security),
        Check("database.owners", _C, "Everything belongs to shield_owner",
              "An owner can change what is in a table, view or function.",
              "ALTER ... OWNER TO shield_owner", _owners),
        Check("database.rights",
              _C, "Rights on schemas, tables, columns, views and functions are exactly those shipped",
              "No login reads a table; each role executes its functions.",
              "REVOKE it, or run `esl-shield db upgrade` to have what is missing.", _rights),
        Check("database.default_rights", _W, "New functions are nobody's until they are granted",
              "PostgreSQL gives EXECUTE to PUBLIC unless told otherwise.",
              "ALTER DEFAULT PRIVILEGES FOR ROLE shield_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
              _default_rights),
        Check("database.triggers", _C, "No trigger, rule, event trigger or publication copies or changes our rows",
              "It would see every row the functions write.", "Drop it, unless it is yours.", _triggers),
        Check("database.groups", _C, "shield_owner and the group roles cannot log in and have no powers",
              "A superuser or BYPASSRLS role is held by no policy.",
              "ALTER ROLE ... NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION", _groups),
        Check("database.logins", _C, "Each login is a member of one group role and has no powers",
              "Two roles in one login are what splitting them was to prevent.",
              "REVOKE the other, or make a login for each with `esl-shield db login`.", _logins),
        Check("database.mapped", _C, "Members of the group roles are the logins `db login` mapped",
              "The mapping says which tenants a login may see. (*owner*)",
              "Run `esl-shield db login` for it, or drop it.", _mapped),
        Check("database.administrators", _I, "Nobody may change everything",
              "Superusers and members of shield_owner are held by nothing; know them.",
              "Keep the list short.", _administrators),
        Check("database.log", _W, "No statement of ours gets into the server's log",
              "A mis-dialled number may have a token's form, and then stands in a statement.",
              "See docs/dba.md.", _log),
        Check("database.durable", _C, "What was committed survives a crash",
              "The audit trail must hold what was allowed.", "Set it in postgresql.conf.", _durable),
        Check("database.encrypted", _W, "Connections over the network have TLS and check the server",
              "Tokens, permits' hashes and ciphertext would be open, and a password's proof.",
              "[database] url: sslmode=verify-full", _encrypted),
        Check("database.months", _W, "The next months have partitions",
              "Rows without one go to the default partition, which makes clearing old months slow.",
              "Run `esl-shield db maintain` once a day.", _months),
        Check("database.indexes", _W, "Every partition has its indexes",
              "An upgrade builds none on a large month that calls write; questions about it read all of it.",
              'Run what docs/dba.md, "Upgrades", lists. An index that is not in it: REINDEX INDEX CONCURRENTLY.',
              _indexes),
    ),
)  # fmt: skip
