"""``esl-shield reveal`` as two people run it: real logins, a real resolver, a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from resolver_process import NUMBERS, REVEALS_SECRET, held

from esl_shield.audit import known

ROOT = Path(__file__).parents[3]
REQUESTER, APPROVER, CASE = "Li Wei", "陈宇", "K-2031"
NUMBER = NUMBERS["mobile"]
DEADLINE_S = 60.0
SLOW = pytest.mark.slow  # a process for each step; the other tests take the same steps with fewer


@dataclass
class Office:
    """Two people's configurations, and everything their commands printed except the answers."""

    folder: Path
    vault: object
    files: dict[str, Path]
    printed: list[str]

    def command(self, who: str, *arguments: str) -> list[str]:
        """The command line of one run."""
        return [sys.executable, "-m", "esl_shield", "--config", str(self.files[who]), "reveal", *arguments]

    def run(self, who: str, *arguments: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command without a terminal."""
        done = subprocess.run(
            self.command(who, *arguments), input=stdin, capture_output=True, text=True, check=False, env=environment(),
            cwd=self.folder, timeout=DEADLINE_S,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        self.printed += [done.stdout, done.stderr]
        return done

    def at_terminal(
        self,
        who: str,
        *arguments: str,
        types: dict[str, str] | None = None,
        code: int = 0,
        environ: dict[str, str] | None = None,
    ) -> str:
        """Run a command at a terminal, typing what it waits for; returns what the screen showed."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.command(who, *arguments), stdin=slave, stdout=slave, stderr=slave, cwd=self.folder,
            env=environment() | (environ or {}),
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        waiting, shown, deadline = dict(types or {}), "", time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 1)[0]:
                continue
            try:
                shown += os.read(master, 65536).decode()
            except OSError:  # Linux says EIO when the last process has closed the terminal
                break
            for prompt in [prompt for prompt in waiting if prompt in shown]:
                os.write(master, waiting.pop(prompt).encode() + b"\n")
        os.close(master)
        assert process.wait(DEADLINE_S) == code, shown
        return shown

    def request(self, *more: str, token: str | None = None) -> str:
        """Ask for the number behind a token; the id."""
        what = ["--token", token or self.vault.tokens["mobile"]]
        arguments = ["--tenant", "bank", "--case", CASE, "--reason", "complaint", *what, *more]
        return json.loads(self.run("requester", "request", *arguments, "--format", "json").stdout)["id"]

    def approved(self) -> str:
        """A request that was approved; the id."""
        made = self.request()
        self.run("approver", "approve", made, "--yes")
        return made

    def state(self, made: str) -> str:
        """What the list says."""
        lines = self.run("requester", "list", "--format", "json").stdout.splitlines()
        return next(row["state"] for row in map(json.loads, lines) if row["id"] == made)


def environment() -> dict[str, str]:
    """Our source tree, nothing of the caller's configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ESL_SHIELD")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "400"}


@pytest.fixture(scope="module")
def office(database, vault, resolver, tmp_path_factory):
    """A requester, an approver and an auditor of the bank."""
    folder = tmp_path_factory.mktemp("office")
    (folder / "reveals.secret").write_text(REVEALS_SECRET + "\n")
    (folder / "reveals.secret").chmod(0o400)
    logins = {
        "requester": database.login("revealer", ["bank"], person=REQUESTER, rights=["request"]),
        "approver": database.login("revealer", ["bank"], person=APPROVER, rights=["approve"]),
        "auditor": database.login("auditor", ["bank"]),
        "seeder": database.login("seeder", ["bank"]),
    }
    files = {}
    for who, login in logins.items():
        files[who] = folder / f"{who}.toml"
        files[who].write_text(
            f'[database]\nurl = "{login.url}"\nconnect_timeout_s = 5\nstatement_timeout_s = 5\n'
            f'[reveals]\nresolver = "127.0.0.1:{resolver.port}"\nsecret = "file:{folder}/reveals.secret"\n'
        )
        files[who].chmod(0o600)
    made = Office(folder, vault, files, [])
    yield made
    needles = {}
    for number in (NUMBER, NUMBERS["fixed"]):
        needles |= known.forms(number) | known.forms(number, vault.tokens["mobile"])
    assert known.scan_bytes("\n".join(made.printed).encode(), needles) == []
    assert known.scan_tree(folder, needles) == []


def test_a_number_is_shown_to_the_requester_once(office):
    """Request, list, approve at a terminal after seeing it, open at a terminal: the number and both names, one time."""
    made = office.request()
    assert office.state(made) == "REQUESTED"
    shown = office.at_terminal("approver", "approve", made, types={"Approve it?": "y"})
    for told in (CASE, "complaint", REQUESTER, office.vault.tokens["mobile"], "minutes left  14"):
        assert told in shown, shown
    assert NUMBER[1:] not in shown
    shown = office.at_terminal("requester", "open", made)
    line = next(line for line in shown.splitlines() if NUMBER in line)
    for marked in (REQUESTER, APPROVER, CASE, made, "opened at 20"):
        assert marked in line
    assert shown.count(NUMBER[-11:]) == 1
    again = office.at_terminal("requester", "open", made, code=1)
    assert "reveal.refused" in again
    assert NUMBER[-11:] not in again
    assert office.state(made) == "OPENED"


def test_the_calls_of_a_number_go_to_a_private_file(office):
    """Both people give the number on standard input; each line of the file is marked; the file is its owner's alone."""
    call = office.vault.permit("mobile").call
    asked = office.run(
        "requester", "request", "--tenant", "bank", "--case", CASE, "--reason", "who called me?", "--calls",
        "--format", "json", stdin="138 0013 8777\n",
    )  # fmt: skip
    made = json.loads(asked.stdout)["id"]
    differs = office.run("approver", "approve", made, "--yes", stdin="13800138778\n", code=1)
    assert "reveal.refused" in differs.stderr
    assert "give --yes" in office.run("approver", "approve", made, stdin=NUMBER, code=2).stderr
    office.run("approver", "approve", made, "--yes", stdin=f"{NUMBER}\n")
    target = office.folder / "calls.txt"
    done = office.run("requester", "open", made, "--output", str(target))
    assert done.stdout == ""
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    lines = target.read_text().splitlines()
    assert lines[0].startswith(f"token {office.vault.tokens['mobile']}: ")
    assert any(call in line for line in lines)
    assert all(REQUESTER in line and APPROVER in line and CASE in line and made in line for line in lines)
    target.unlink()


@SLOW
def test_the_approver_types_the_number_hidden(office):
    """At a terminal the number is asked for without being shown; JSON has the marks in every object."""
    shown = office.at_terminal(
        "requester", "request", "--tenant", "bank", "--case", CASE, "--reason", "who called me?", "--calls",
        types={"Number": NUMBER},
    )  # fmt: skip
    made = shown.split("requested ")[1].split(":")[0]
    shown += office.at_terminal("approver", "approve", made, types={"Approve it?": "y", "Number:": NUMBER})
    assert NUMBER[-11:] not in shown
    target = office.folder / "calls.json"
    office.run("requester", "open", made, "--output", str(target), "--format", "json")
    head, *calls = map(json.loads, target.read_text().splitlines())
    assert (head["token"], head["total"], head["shown"]) == (office.vault.tokens["mobile"], len(calls), len(calls))
    assert all(line["mark"]["approved_by"].startswith(APPROVER) for line in (head, *calls))
    target.unlink()


def test_nothing_is_used_where_nothing_could_be_printed(office):
    """A pipe for stdout, or a name that is taken, be it by a link to nowhere: each is refused before the opening."""
    made = office.approved()
    (office.folder / "link").symlink_to(office.folder / "elsewhere")
    assert "reveal.no_terminal" in office.run("requester", "open", made, code=2).stderr
    assert "process.os_error" in office.run("requester", "open", made, "--output", "link", code=2).stderr
    assert office.state(made) == "APPROVED"
    office.run("requester", "open", made, "--output", "answer")
    answer = (office.folder / "answer").read_text()
    assert NUMBER in answer
    assert answer.endswith(f"id {made}\n")
    (office.folder / "answer").unlink()


def test_a_refused_opening_leaves_no_file(office):
    """The new file of an opening that is refused is removed again."""
    made = office.request()
    office.run("requester", "open", made, "--output", "answer", code=1)
    assert not (office.folder / "answer").exists()


@SLOW
def test_a_used_reveal_whose_answer_was_not_written_says_so(office):
    """When the disk is full after the opening, the message says that the reveal is used up."""
    made = office.approved()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); from esl_shield.cli.main import main; main()"
    )
    command = office.command("requester", "open", made, "--output", "answer")
    done = subprocess.run(
        [sys.executable, "-c", code, *command[3:]],
        capture_output=True, text=True, check=False, env=environment(), cwd=office.folder, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert f"{made} is used up" in done.stderr
    office.printed += [done.stdout, done.stderr]
    assert office.state(made) == "OPENED"
    assert not (office.folder / "answer").exists()


@SLOW
def test_a_name_the_terminal_cannot_show_loses_no_answer(office):
    """In a locale without Chinese characters the name is spelled as escapes."""
    made = office.approved()
    shown = office.at_terminal("requester", "open", made, environ={"PYTHONIOENCODING": "ascii"})
    assert NUMBER in shown
    assert APPROVER.encode("unicode_escape").decode() in shown


@SLOW
def test_an_interrupted_opening_says_that_it_is_used(office, vault):
    """Ctrl-C while the resolver is busy with the answer: the reveal is used up, and the command says so."""
    made = office.approved()
    with held(vault, "LOCK TABLE shield.tokens IN ACCESS EXCLUSIVE MODE"):
        process = subprocess.Popen(
            office.command("requester", "open", made, "--output", "answer"), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=office.folder,
        )  # fmt: skip
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE %s"
        deadline = time.monotonic() + DEADLINE_S
        while not vault.one(waits, "esl-shield resolver%") and time.monotonic() < deadline:
            pass
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 130, said
    assert f"{made} is used up" in said
    assert not (office.folder / "answer").exists()
    office.printed.append(said)


def test_each_person_does_their_part_only(office):
    """The approver requests and opens nothing, the requester approves nothing; a denial ends it."""
    token = office.vault.tokens["mobile"]
    asked = ("--tenant", "bank", "--case", CASE, "--reason", "x", "--token", token)
    made = office.approved()
    for who, arguments in (
        ("approver", ("request", *asked)),
        ("approver", ("open", made, "--output", "answer")),
        ("requester", ("approve", office.request(), "--yes")),
        ("requester", ("deny", str(uuid.uuid4()))),
        ("approver", ("approve", str(uuid.uuid4()), "--yes")),
    ):
        assert "reveal.refused" in office.run(who, *arguments, code=1).stderr
    office.run("approver", "deny", made)
    assert "reveal.refused" in office.run("requester", "open", made, "--output", "answer", code=1).stderr
    assert "which takes the login of a revealer" in office.run("seeder", "deny", made, code=2).stderr


def test_a_no_at_the_question_approves_nothing(office):
    """The approver who says no leaves the request as it was."""
    made = office.request()
    office.at_terminal("approver", "approve", made, types={"Approve it?": "n"}, code=130)
    assert "give --yes" in office.run("approver", "approve", made, code=2).stderr
    assert office.state(made) == "REQUESTED"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"--token": "13800138777"}, "number.in_argument"),
        ({"--reason": "he asked for 138-0013-8777"}, "number.in_argument"),
        ({"--tenant": "nosuch"}, "tenant.unknown"),
        ({"--token": None}, "give --token TOKEN or --calls"),
    ],
)
def test_a_request_with_bad_input_is_refused(office, changed, error):
    """One clear sentence each, and no number is repeated."""
    token = office.vault.tokens["mobile"]
    options = {"--tenant": "bank", "--case": CASE, "--reason": "complaint", "--token": token} | changed
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    assert error in office.run("requester", "request", *words, code=2).stderr


def test_a_number_that_is_none_or_stands_in_the_reason_is_refused(office):
    """What comes on standard input must be one number, and the reason must not hold it."""
    asked = ("request", "--tenant", "bank", "--case", CASE, "--calls", "--reason")
    for stdin in ("", f"{NUMBER}\n{NUMBER}\n"):
        assert "number.rejected" in office.run("requester", *asked, "complaint", stdin=stdin, code=2).stderr
    held = office.run("requester", *asked, "ends in 001 38 777", stdin=NUMBER, code=2)
    assert "number.in_argument" in held.stderr


def test_the_auditor_sees_who_asked_what_for_which_case(office, vault):
    """The list and the trail name case, reason, people and steps."""
    made = office.approved()
    rows = map(json.loads, office.run("auditor", "list", "--case", CASE, "--format", "json").stdout.splitlines())
    row = next(row for row in rows if row["id"] == made)
    assert (row["requester_person"], row["approver_person"], row["state"]) == (REQUESTER, APPROVER, "APPROVED")
    assert made in office.run("auditor", "list", "--live").stdout
    command = [sys.executable, "-m", "esl_shield", "--config", str(office.files["auditor"]), "audit", "tail", "-n", "9"]
    tail = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert f"reveal={made} " in tail.stdout
    assert f"case={CASE}" in tail.stdout
    assert "why=complaint" in tail.stdout
    office.printed.append(tail.stdout)
    dump = vault.one("SELECT string_agg(r::text, '') FROM (SELECT * FROM shield.reveals) r")
    dump += vault.one("SELECT string_agg(e::text, '') FROM (SELECT * FROM shield.audit_events) e")
    office.printed.append(dump)
