"""Every metric there is: name, kind, labels, meaning; docs/metrics.md is made from it.

Invariants: what is not listed here cannot be published; names follow Prometheus' conventions (base units, ``_total``
for counters); no label's values come from a caller: they are words of ours, names from the configuration, or a bounded
number of tenants' domains. Never a number, a token, an alias, an agent.

``python -m esl_shield.service.catalogue`` prints docs/metrics.md.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

# Close together where a call is well (1 to 100 ms); the rest says how bad it is.
CALL_PATH_S = (
    *(0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008),
    *(0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5),
)


class Metric(NamedTuple):
    """One metric of one kind of process; ``buckets`` in its unit, of histograms."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"esl_shield_{name}_total", "counter", labels, meaning)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"esl_shield_{name}", "gauge", labels, meaning)


def _histogram(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(f"esl_shield_{name}_seconds", "histogram", labels, meaning, CALL_PATH_S)


EVERY = (
    _gauge("build_info", "1; the labels say which version runs as what.", "role", "version"),
)  # fmt: skip
DATABASE = (
    _gauge("database_connections", "Connections a pool may have ([database] pool_size).", "pool"),
    _gauge("database_connections_in_use", "Connections that run a statement now.", "pool"),
    _gauge("database_waiting_calls", "Statements that wait for a connection now.", "pool"),
    _counter("database_calls", "Statements asked for.", "pool"),
    _counter("database_waits", "Statements that had to wait for a connection.", "pool"),
    _counter("database_wait_seconds", "Time statements waited for a connection.", "pool"),
    _counter("database_away", "Statements the database did not answer: busy, unreachable, too slow.", "pool"),
)
WORKER = (
    _counter(
        "worker_calls", "Calls taken that are over, by final state in small letters; refused: we did.",
        "tenant", "outcome",
    ),
    _counter(
        "worker_refusals",
        "Calls refused: not_found (404), forbidden (403), destination (403), bad_handoff, database_away, no_gateway, "
        "worker_full, overloaded (503).", "reason",
    ),
    _counter("worker_authorizations", "Calls the database allowed, by the first gateway's delivery.", "delivery"),
    _counter("worker_inbound_calls", "Customers' calls accepted, by what agents see: token or anonymous.", "shown"),
    _counter("worker_transfers", "Customers who went on without the leg that called."),
    _counter("worker_failovers", "Attempts after which the next gateway was tried.", "cause"),
    _counter("worker_passed_on", "Agents or queues that did not take a customer's call.", "cause"),
    _counter("worker_gone", "Sockets that ended before a call was taken: before_connect, bad_frame.", "when"),
    _counter(
        "worker_connections",
        "Sockets: accepted, overflow (full), late (waited too long), denied (not in allow), gone, handler_error, "
        "accept_error (out of descriptors), ended.", "event",
    ),
    _counter("worker_record_delays", "Tries to write a record that the database did not take; they are repeated."),
    _counter("worker_record_losses", "Records given up: queue_full, refused.", "reason"),
    _counter("worker_beats_missed", "Times the worker could not tell the database that it lives.", "reason"),
    _histogram("worker_handoff", "From the accepted connection to the bridge command, permit committed."),
    _gauge("worker_open_calls", "Calls this worker holds now."),
    _gauge("worker_call_slots", "Calls it may hold ([esl] max_calls)."),
    _gauge("worker_overflow_calls", "Sockets beyond the slots that are being answered 503 now."),
    _gauge("worker_overflow_slots", "How many of those are answered at once ([esl] reserve)."),
    _gauge("worker_untold_records", "Statements the database has not taken yet."),
    _gauge("worker_draining", "1 while the worker takes no more calls."),
    _counter(
        "gateway_attempts", "Attempts that are over: answered, or the cause; OTHER is one docs/operations.md lacks.",
        "gateway", "cause",
    ),
    _gauge("gateway_up", "0 after three attempts in a row that failed through the gateway's own fault.", "gateway"),
)  # fmt: skip
RESOLVER = (
    _counter(
        "resolver_answers",
        "Answers: number, token (a caller masked), revealed, refused, destination, away; reasons are the log's.",
        "answer", "reason",
    ),
    _histogram("resolver_answer", "From a request read to its answer; of number it is the redemption.", "answer"),
    _counter(
        "resolver_ciphertexts",
        "What the journal counts: decrypts, withheld (not decrypted), unanswered (nobody knows).", "what",
    ),
    _counter(
        "resolver_method_attempts",
        "Numbers asked of a method (stored, ff1, crm): number, refused, away, error, open (left alone by its breaker).",
        "method", "outcome",
    ),
    _histogram("resolver_method", "From a redeemed permit to its method's answer.", "method"),
    _gauge(
        "resolver_open_breakers",
        "Tenants whose method failed five times in a row and did not answer since (stored, ff1, crm).", "method",
    ),
    _gauge("resolver_open_requests", "Requests that are being worked on now."),
    _gauge("resolver_request_slots", "Requests it works on at once ([resolver] max_requests)."),
    _gauge("resolver_journal_unwritten_records", "Records that are not in the journal's file yet."),
    _gauge("resolver_journal_failing", "1 while the journal's file cannot be written."),
)  # fmt: skip
SEALER = (
    _gauge("sealer_active", "1 for the sealer that holds the lock, 0 for a stand-by."),
    _gauge("sealer_lag_seconds", "Age of the oldest event that is in no block."),
    _gauge("sealer_waiting_events", "Events in no block, at most 100000."),
    _gauge("sealer_held_events", "Those of them that wait for a transaction still open."),
    _gauge("sealer_unexported_heads", "Blocks whose head has not gone to the file or the url yet.", "to"),
    _counter("sealer_blocks", "Blocks sealed."),
    _counter("sealer_events", "Audit events sealed, by kind: permit.redeemed, tokens.seeded, ...", "kind"),
    _counter("sealer_failures", "What failed and is tried again: sealing, heads, sending, figures.", "what"),
    _gauge("site_permits", "Permits nobody redeemed: live, or expired and not swept yet.", "state"),
    _gauge("site_tokens", "Tokens; grows while an import runs.", "tenant"),
    _gauge("site_locked", "Agents who may not call and logins that may not mint until somebody unlocks them.", "what"),
    _gauge("site_webhook_waiting_events", "Events that wait for webhooks, at most 10000 for one.", "tenant"),
    _gauge("site_webhook_oldest_waiting_seconds", "Age of the oldest event a webhook has not taken yet.", "tenant"),
    _gauge("site_webhook_dead_events", "Events given up and not replayed, of the last 100000.", "tenant"),
    _gauge("site_rekeying_tokens", "Tokens of tenants whose rekeying is under way: reencrypt, reindex.", "work"),
    _gauge("site_rekeyed_tokens", "Those of them that are done.", "work"),
    _gauge("site_figures_timestamp_seconds", "When the figures of the site were read."),
)
INTAKE = (
    _counter(
        "intake_records",
        "FreeSWITCH's records: ended a call, agrees or differs with its worker, waiting for the worker or the other "
        "leg, unknown (no call of ours), known, duplicate, rejected (no record), away (told to spool).", "verdict",
    ),
)  # fmt: skip
API = (
    _counter(
        "api_requests", "Requests by operation (none: no such path, or refused before) and HTTP status.",
        "operation", "status",
    ),
    _histogram("api_request", "From a request's head to its answer's first byte.", "operation"),
)  # fmt: skip
SUPERVISOR = (
    _gauge("serve_children", "Processes by state: starting, ready, leaving, waiting.", "role", "state"),
    _gauge("serve_failing", "Processes that died several times in a row.", "role"),
    _counter(
        "serve_deaths", "Processes that ended untold: exited, refused, killed, hung, slow_to_start, ...",
        "role", "reason",
    ),
    _counter("serve_reloads", "Reloads: done, refused.", "outcome"),
)  # fmt: skip
PROCESSES = {
    "every process": EVERY,
    "worker, resolver, intake, API and tokeniser": DATABASE,
    "worker": WORKER,
    "resolver": RESOLVER,
    "sealer": SEALER,
    "intake": INTAKE,
    "API and tokeniser": API,
    "supervisor": SUPERVISOR,
}
CATALOGUE = {metric.name: metric for group in PROCESSES.values() for metric in group}

_PAGE = """# Metrics

Made by `python -m esl_shield.service.catalogue`. Each process answers `GET /metrics` in Prometheus' text format at an
address of its own ([configuration](configuration.md), [ADR 29](adr/0029-prometheus-scrapes-each-process.md)). Besides
these there is `process_*` (CPU, memory, files, start) as the operating system counts it; a process that was restarted
has a new `process_start_time_seconds`. What to do when a figure is bad: [operations](operations.md#alerts).

`tenant` is a tenant's SIP domain. A domain gets a value of its own with its first call that was allowed, until there
are `[metrics] tenants` of them; the rest is `other`. No label holds a number, a token, an alias or an agent.
"""


def page() -> str:
    """Return docs/metrics.md."""
    parts = [_PAGE]
    for process, metrics in PROCESSES.items():
        rows = [
            f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} "
            f"| {metric.meaning} |".replace("|  |", "| |")
            for metric in metrics
        ]
        head = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
        parts.append("\n".join([f"## {process[0].upper()}{process[1:]}", "", *head, *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - this is what it is run for
