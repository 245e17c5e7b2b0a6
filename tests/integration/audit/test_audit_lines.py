"""The bytes that are sealed: the sealer's own spelling is PostgreSQL's COPY, whatever stands in an event."""

from __future__ import annotations

import json

from esl_shield.audit.events import COLUMNS, decode, encode
from esl_shield.audit.source import open_source

HARD = [
    "plain",
    "tab\tnewline\nreturn\r",
    "back\\slash \\N \\t",
    "\"quotes\" 'and'",
    "\u00e9\u4e2d\U0001f600",
    "\b\f\v",
    " ",
]


def test_the_sealer_spells_events_as_copy_does(site):
    """Every hard text, in every column that takes one, and NULL give the very same bytes by both ways."""
    for text in HARD:
        site.sql(
            "INSERT INTO shield.audit_events (kind, login, detail) VALUES ('a.b', %s, %s)",
            text,
            json.dumps({text: [text, 1.50, None]}),
        )
    site.sql(
        "INSERT INTO shield.audit_events (kind, at, token, call, agent)"
        " VALUES ('a.b', '1999-12-31 23:59:59.999999+00', '91000000000018', gen_random_uuid(), 'J\u00fcrgen \\')"
    )
    rows = site.database.open(site.sealer_login).call("unsealed_events", False, 0, 0, "0", 0, 1000)
    with open_source(site.auditor_login) as source:
        copied = source._copy(f"SELECT {', '.join(COLUMNS)} FROM dba.audit_lines ORDER BY xid, id")
    assert [encode(row[1:]) for row in rows] == copied
    assert len(copied) > len(HARD)
    for row, line in zip(rows, copied, strict=True):
        assert list(decode(line).values()) == [None if value is None else str(value) for value in row[1:]]
