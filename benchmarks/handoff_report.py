"""What the hand-off's benchmark prints and writes: lines, one table of ratios, a document's section and its plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svg import Series, chart

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = "<!-- generated: make bench -->", "<!-- end of what make bench writes -->"
WANTED = {28: "p50 <= 3, p99 <= 6 ms", 800: "p99 <= 30 ms", 1000: "none stuck"}


def show(name: str, account: dict[str, Any]) -> None:
    """Print one line of a run."""
    if "kib_each" in account:
        text = f"{account['open']} open, {account['kib_each']:.1f} KiB each, {account['idle_percent']:.1f} % of a core"
        print(f"{name:24} {text}{_failures(account['account'])}", flush=True)
        return
    took = account["handoff"]
    text = f"p50 {took['p50_ms']:.2f} p99 {took['p99_ms']:.2f} p99.9 {took['p999_ms']:.2f} max {took['max_ms']:.1f} ms"
    cpu = ", ".join(f"{name} {us}" for name, us in account.get("cpu_us", {}).items())
    load = f"; load {account['load']:.1f}" if "load" in account else ""
    print(
        f"{name:24} {account['rate']:5g}/s {text}{'; CPU us a call: ' + cpu if cpu else ''}{load}{_failures(account)}",
        flush=True,
    )


def _failures(account: dict[str, Any]) -> str:
    kinds = ", ".join(f"{kind} {count}" for kind, count in account["failures"].items())
    return (
        f"; {account['failed']} of {account['begun']} FAILED ({kinds}), {account['stuck']} stuck"
        if account["failed"]
        else ""
    )


def table(found: dict[str, Any]) -> str:
    """Write the one table: each contender's figures, and how many times ours they are."""
    return "\n".join(["", *_rows(found, " | ")])


def _rows(found: dict[str, Any], edge: str) -> list[str]:
    runs = {run["rate"]: run for run in found["ours"]["rates"]}
    head = ["who", "calls/s", "p50 ms", "p99 ms", "failed", "stuck", "p50 / ours", "p99 / ours", "wanted"]
    rows = [head, ["---"] * len(head)]
    rows += [_row("worker, authorisation committed", run, run, WANTED.get(int(rate), "")) for rate, run in runs.items()]
    rows += [_row("worker, each fsync + 2 ms", run, runs.get(run["rate"]), "") for run in found["ours"]["slow"]]
    for peer in found["peers"]:
        rows += [_row(f"{peer['name']}, no database", run, runs.get(run["rate"]), "") for run in peer["rates"]]
    rows += [_row("null server (the generator's limit)", run, runs.get(run["rate"]), "") for run in found["null"]]
    mine = found["ours"]["held"]
    lines = [edge.join(row) for row in rows]
    lines += [
        "",
        edge.join(["who", "open calls", "KiB each", "idle, % of a core", "KiB / ours", "wanted"]),
        edge.join(["---"] * 6),
    ]
    lines.append(_held("worker", mine, mine, "<= 20 KiB, < 2 %", edge))
    return lines + [_held(peer["name"], peer["held"], mine, "", edge) for peer in found["peers"]]


def _row(name: str, run: dict[str, Any], ours: dict[str, Any] | None, wanted: str) -> list[str]:
    took = run["handoff"]
    ratios = [
        f"{took[key] / ours['handoff'][key]:.1f}" if ours and ours["handoff"][key] else ""
        for key in ("p50_ms", "p99_ms")
    ]
    return [
        name, f"{run['rate']:g}", f"{took['p50_ms']:.2f}", f"{took['p99_ms']:.2f}", str(run["failed"]), str(run["stuck"]),
        *ratios, wanted,
    ]  # fmt: skip


def _held(name: str, held: dict[str, Any], ours: dict[str, Any], wanted: str, edge: str) -> str:
    ratio = held["kib_each"] / ours["kib_each"] if ours["kib_each"] else 0
    figures = [str(held["open"]), f"{held['kib_each']:.1f}", f"{held['idle_percent']:.1f}", f"{ratio:.1f}"]
    return edge.join([name, *figures, wanted])


def markdown(found: dict[str, Any], document: Path) -> None:
    """Replace the document's generated section, and write the plots beside it; raises ValueError without its marks."""
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    plots = document.parent / "performance"
    plots.mkdir(exist_ok=True)
    names = []
    for name, drawn in _plots(found).items():
        (plots / f"{name}.svg").write_text(drawn, encoding="utf-8")
        names.append(f"![{name}](performance/{name}.svg)")
    machine = "\n".join(f"    {line}" for line in found["machine"])
    ours = found["ours"]
    load = max(run["load"] for run in ours["rates"])
    said = (
        f"Measured {found['at']}, load average up to {load:.1f} with the benchmark's own processes; one small commit takes"
        f" {ours['commit_ms']:.2f} ms, with the slower fsync {ours['slow_commit_ms']:.2f} ms.\n\n{machine}"
    )
    rows = "\n".join(f"| {row} |" if row else "" for row in _rows(found, " | "))
    cpu = "\n".join(
        [
            "| calls/s | worker | resolver | PostgreSQL | generator |",
            "| --- | --- | --- | --- | --- |",
            *_cpu(ours["rates"]),
        ]
    )
    sizes = "\n".join(_vaults(ours["vaults"])) if ours["vaults"] else ""
    soak = f"\n\n{_soak(found['soak'])}" if "soak" in found else ""
    body = (
        f"{said}\n\n{rows}\n\nCPU microseconds a call, from hand-off to CDR:\n\n{cpu}\n\n{sizes}{soak}\n\n"
        + "\n".join(names)
    )
    document.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def _cpu(runs: list[dict[str, Any]]) -> list[str]:
    parts = ("worker", "resolver", "postgresql", "generator")
    return [f"| {run['rate']:g} | {' | '.join(str(run['cpu_us'][part]) for part in parts)} |" for run in runs]


def _vaults(vaults: list[dict[str, Any]]) -> list[str]:
    lines = ["| tokens in the vault | PostgreSQL, CPU us a call | p50 ms | p99 ms |", "| --- | --- | --- | --- |"]
    for one in vaults:
        run = one["run"]
        took = run["handoff"]
        lines.append(
            f"| {one['tokens']:,} | {run['cpu_us']['postgresql']} | {took['p50_ms']:.2f} | {took['p99_ms']:.2f} |"
        )
    return lines


def _soak(soak: dict[str, Any]) -> str:
    pairs = [f"{name} {soak['before'][name]} -> {soak['after'][name]}" for name in soak["before"]]
    return f"Soak of {soak['minutes']:g} min at 28 calls/s: {soak['failed']} failed; {', '.join(pairs)}."


def _plots(found: dict[str, Any]) -> dict[str, str]:
    runs = found["ours"]["rates"]
    took = [
        Series(f"worker {name}", [(run["rate"], run["handoff"][key]) for run in runs])
        for name, key in (("p50", "p50_ms"), ("p99", "p99_ms"))
    ]
    took += [
        Series(f"{peer['name']} p99", [(run["rate"], run["handoff"]["p99_ms"]) for run in peer["rates"]])
        for peer in found["peers"]
    ]
    cpu = [
        Series(name, [(run["rate"], float(run["cpu_us"][key])) for run in runs])
        for name, key in (("worker", "worker"), ("PostgreSQL", "postgresql"), ("resolver", "resolver"))
    ]
    return {
        "handoff": chart("From connect to the bridge command", "calls a second", "ms", took, log_y=True),
        "cpu": chart("CPU of one call", "calls a second", "microseconds", cpu),
    }
