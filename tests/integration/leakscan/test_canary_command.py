"""`leakscan --canary` where no FreeSWITCH is: nothing is called clean, and what it is given is checked first."""

from __future__ import annotations

import json
import socket

import pytest

from esl_shield.audit import known, signing

OWN = "+442079460555"


@pytest.fixture
def site(lab):
    """The scanner's configuration with a canary's section, at a port where nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        folder = lab.lab.folder
        signing.make_keys(str(folder / "report.key"))
        (folder / "phone").write_text("hush-hush\n")
        (folder / "phone").chmod(0o400)
        canary = lab.lab.database.login("canary", ["acme"])
        config = lab.config()
        config.write_text(
            config.read_text() + '[canary]\ntenant = "acme"\ndomain = "acme.example"\nagent = "1099"\n'
            f'password = "file:{folder}/phone"\nswitch = "127.0.0.1:{silent.getsockname()[1]}"\nregion = "GB"\n'
            f'signing_key = "file:{folder}/report.key"\nring_s = 1\nrecord_s = 1\nquiet_s = 0.1\n'
            f'[canary.database]\nurl = "{canary.url}"\n'
        )
        (folder / "searched").mkdir()
        (folder / "searched" / "a.log").write_text("nothing\n")
        yield config


def test_a_call_nobody_takes_is_no_proof(lab, site):
    """Exit 3 and a signed report; verify believes it, and not once it was changed; no number is printed."""
    folder = lab.lab.folder
    arguments = ("leakscan", "--canary", "--own-numbers", str(folder / "searched"))
    done = lab.lab.run(*arguments, config=site, stdin=f"\n{OWN}\n{OWN}\n".encode())
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)["report"]
    assert report["verdict"] == "unproven"
    (call,) = report["calls"]
    assert (call["outcome"], call["call"], report["control_found"]) == ("not_taken", None, 1)
    assert [file["bytes"] for file in report["files"]] == [len("nothing\n")]
    assert not known.scan_bytes((done.stdout + done.stderr).encode(), known.encodings(OWN, call["token"]))
    told = folder / "report.json"
    verify = ("leakscan", "verify", str(told), "--key", str(folder / "report.key.pub"))
    told.write_text(done.stdout)
    believed = lab.lab.run(*verify)
    assert believed.returncode == 0
    assert "unproven" in believed.stdout
    told.write_text(done.stdout.replace("unproven", "clean"))
    rejected = lab.lab.run(*verify)
    assert (rejected.returncode, rejected.stdout) == (1, "")
    assert "report.rejected" in rejected.stderr
    kinds = lab.lab.database.query(
        "SELECT detail->>'outcome' FROM dba.audit_events WHERE kind = 'leakscan.finished'"
        " UNION ALL SELECT kind FROM dba.audit_events WHERE kind = 'canary.started'"
    )
    assert kinds == [("unproven",), ("canary.started",)]


WRONG = {
    "no number": (("--own-numbers",), b"\n", "there are 0"),
    "no telephone number": (("--own-numbers",), b"020 7946 055\n", "line 1"),
    "too many calls": (("--calls", "51"), b"", "1<=x<=50"),
    "standard input twice": (("-",), b"", "files and folders"),
    "no canary": (None, b"", "--own-numbers and --wire are for --canary"),
}


def test_what_cannot_be_run_is_said_before_any_call(lab, site):
    """Exit 2, one sentence, no event in the audit trail that calls started."""
    for name, (more, stdin, words) in WRONG.items():
        arguments = ("--own-numbers",) if more is None else ("--canary", *more)
        done = lab.lab.run("leakscan", *arguments, str(lab.lab.folder / "searched"), config=site, stdin=stdin)
        assert (done.returncode, done.stdout) == (2, ""), name
        assert words in done.stderr, name
        assert "7946" not in done.stderr, name
    assert lab.lab.database.query("SELECT 1 FROM dba.audit_events WHERE kind = 'canary.started'") == []


def test_a_scanner_that_does_not_see_the_canary_proves_nothing(lab, site):
    """The control fails when the scanner is another tenant's: it would find no leak of this one."""
    lab.lab.add_tenant("brick", "78")
    other = lab.lab.database.login("scanner", tenants=["brick"], lookups_per_s=1000)
    site.write_text(site.read_text().replace(lab.login.url, other.url))
    done = lab.lab.run("leakscan", "--canary", "--calls", "1", str(lab.lab.folder / "searched"), config=site)
    report = json.loads(done.stdout)["report"]
    assert (done.returncode, report["control_found"]) == (3, 0)
    assert "the scanner's login does not find this canary" in done.stderr
