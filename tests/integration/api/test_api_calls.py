"""Call records over HTTP: filtered, paged, streamed, one tenant's alone."""

from __future__ import annotations

import re
import urllib.request
import uuid
from pathlib import Path

import pytest

AT = "2026-03-01 10:00:00+00"


@pytest.fixture(scope="module")
def calls(crm):
    """Seven calls of acme's, a second apart and two at the same moment, and one of brick's; ids, newest first."""
    token = crm.token("+8613800138500", alias="CALLS")
    tenants = dict(crm.database.query("SELECT name, id FROM dba.tenants"))
    made = [uuid.UUID(int=n + 1) for n in range(7)]
    for n, call in enumerate(made):
        crm.database.query(
            "INSERT INTO shield.calls (id, tenant_id, ref, agent, token, alias, state, started_at, answered_at,"
            " ended_at)"
            " VALUES (%s, %s, %s, %s, %s, 'CALLS', %s, %s::timestamptz + %s * interval '1 s', %s, %s)",
            str(call), tenants["acme"], f"TASK-{n}", f"10{n % 2}", token, "COMPLETED" if n % 3 else "BUSY", AT,
            n // 2 if n > 4 else n,
            AT, "2026-03-01 10:01:00.5+00",
        )  # fmt: skip
    crm.database.query(
        "INSERT INTO shield.calls (id, tenant_id, agent, state, started_at) VALUES (%s, %s, '100', 'BUSY', %s)",
        str(uuid.UUID(int=99)), tenants["brick"], AT,
    )  # fmt: skip
    rows = crm.database.query(
        "SELECT id::text FROM shield.calls WHERE tenant_id = %s AND started_at < %s::timestamptz + interval '1 day'"
        " AND started_at >= %s ORDER BY started_at DESC, id DESC",
        tenants["acme"],
        AT,
        AT,
    )
    return [row[0] for row in rows]


WINDOW = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"


def ids(answer):
    """The ids of a page or of lines."""
    return [call["id"] for call in (answer.body["calls"] if isinstance(answer.body, dict) else answer.body)]


def test_pages_follow_each_other_without_gap_or_repetition(crm, calls):
    """Cursors walk all calls newest first, also across two of the same moment."""
    found, cursor = [], ""
    while cursor is not None:
        page = crm.ask("GET", f"/v1/calls?{WINDOW}&limit=2{cursor and '&cursor=' + cursor}")
        found += ids(page)
        cursor = page.body["next"]
    assert found == calls


def test_an_export_streams_the_same_calls(crm, calls):
    """One JSON object a line, the same calls in the same order; more than one page of the database."""
    crm.database.query(
        "INSERT INTO shield.calls (id, tenant_id, agent, state, started_at) SELECT gen_random_uuid(), t.id, 'many',"
        " 'BUSY', '2025-06-01'::timestamptz + n * interval '1 s' FROM dba.tenants t, generate_series(1, 1203) n"
        " WHERE t.name = 'acme'"
    )
    assert ids(crm.ask("GET", f"/v1/calls:export?{WINDOW}")) == calls
    many = crm.ask("GET", "/v1/calls:export?from=2025-05-31T00:00:00Z&to=2025-06-02T00:00:00Z").body
    assert len({call["id"] for call in many}) == 1203
    assert [call["started_at"] for call in many] == sorted((call["started_at"] for call in many), reverse=True)


def test_an_export_takes_no_memory_of_its_length(crm):
    """The most memory an export takes is a fraction of what it sends: the API holds a page of it at a time."""
    crm.database.query(
        "INSERT INTO shield.calls (id, tenant_id, agent, ref, state, started_at) SELECT gen_random_uuid(), t.id,"
        " repeat('a', 64), repeat('r', 64), 'BUSY', '2024-06-01'::timestamptz + n * interval '1 s'"
        " FROM dba.tenants t, generate_series(1, 8000) n WHERE t.name = 'acme'"
    )
    process = Path(f"/proc/{crm.api.popen.pid}")

    def most_kib():
        return int(re.search(r"VmHWM:\s+([0-9]+) kB", (process / "status").read_text())[1])

    def export():
        window = "from=2024-06-01T00:00:00Z&to=2024-06-02T00:00:00Z"
        request = urllib.request.Request(f"http://127.0.0.1:{crm.api.port}/v1/calls:export?{window}")
        request.add_header("Authorization", f"Bearer {crm.key}")
        with urllib.request.urlopen(request, timeout=60) as response:
            return sum(len(line) for line in response)

    try:
        crm.ask("GET", "/v1/calls?from=2024-06-01T00:00:00Z&to=2024-06-02T00:00:00Z&limit=500")
        (process / "clear_refs").write_text("5")  # the peak begins anew
        before = most_kib()
        sent_kib = export() / 1024
        grown = most_kib() - before
    finally:
        crm.database.query("DELETE FROM shield.calls WHERE started_at < '2024-07-01'")
    assert sent_kib > 4000
    assert grown < sent_kib / 3


FILTERS = {
    "agent": ("agent=101", lambda call: call["agent"] == "101"),
    "state": ("state=BUSY", lambda call: call["state"] == "BUSY"),
    "states": ("state=BUSY&state=COMPLETED", lambda call: True),
    "ref": ("ref=TASK-3", lambda call: call["ref"] == "TASK-3"),
    "other-ref": ("ref=TASK-99", lambda call: False),
    "alias": ("alias=CALLS", lambda call: call["alias"] == "CALLS"),
    "other-alias": ("alias=OTHER", lambda call: False),
    "from": ("from=2026-03-01T10:00:02Z", lambda call: call["started_at"] >= "2026-03-01T10:00:02"),
    "to": ("to=2026-03-01T18:00:02%2B08:00", lambda call: call["started_at"] < "2026-03-01T10:00:02"),
}


@pytest.mark.parametrize("case", FILTERS, ids=str)
def test_filters_narrow_what_is_listed(crm, calls, case):
    """Each filter keeps the calls it names."""
    query, keeps = FILTERS[case]
    window = "&".join(part for part in WINDOW.split("&") if part.partition("=")[0] not in query)
    everything = crm.ask("GET", f"/v1/calls?{WINDOW}").body["calls"]
    assert crm.ask("GET", f"/v1/calls?{window}&{query}").body["calls"] == [call for call in everything if keeps(call)]


def test_a_call_is_shown_to_its_tenant_alone(crm, calls):
    """A call has its record; another tenant's is not there."""
    call = crm.ask("GET", f"/v1/calls/{calls[0]}").body
    assert (call["id"], call["alias"], call["talk_s"]) == (calls[0], "CALLS", 60.5)
    assert crm.ask("GET", f"/v1/calls/{uuid.UUID(int=99)}").status == 404
    assert crm.ask("GET", f"/v1/calls/{calls[0]}", key=crm.make_key("brick")).status == 404


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=501", "limit=x", "limit=%D9%A1", "limit=1&limit=2", "cursor=AAAA", "cursor=", "state=LOSTT",
        "agents=1",
        "from=2026", "from=2026-03-01T00:00:00", "agent=%00", "agent=%ff", "token=12", "to=0001-01-01T00:00:00%2B08:00",
        "to=0001-01-05T00:00:00Z", "&".join(["state=BUSY"] * 70),
    ],
    ids=lambda query: query[:24],
)  # fmt: skip
def test_a_bad_query_is_refused(crm, query):
    """Whatever is wrong with a parameter is a 422 that repeats nothing."""
    assert crm.ask("GET", f"/v1/calls?{query}").status == 422


def test_the_pages_of_the_process_say_how_it_is(crm):
    """Health is well, and requests are counted by operation and status."""

    def page(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{crm.pages}{path}", timeout=10) as response:
            return response.read().decode()

    crm.ask("GET", f"/v1/calls/{uuid.UUID(int=98)}")
    assert '"ready": true' in page("/readyz")
    assert '"live": true' in page("/livez")
    assert 'esl_shield_api_requests_total{operation="call",status="404"}' in page("/metrics")
