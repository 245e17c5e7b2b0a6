"""The systemd unit: what systemd says of it, and a call through its ExecStart line with its privileges taken away."""

from __future__ import annotations

import configparser
import os
import pwd
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from edge_lab import COMMAND, EDGE, Edge, Resolver
from ports import HOST
from sip_peer import Peer, Switch

UNIT = EDGE / "kamailio-edge.service"
SYSTEM = "/usr/sbin/kamailio"
HOME = "/etc/esl-shield/edge"
SECRETS = ("SHIELD_EDGE_SECRET", "SHIELD_EDGE_KEY", "SHIELD_EDGE_TAG_KEY")
# What the unit's sandbox makes of the file system, as far as that goes without systemd: everything read-only but the
# runtime folder and an empty /tmp, homes hidden, the edge's files at their place. $1 is the stand-in for /etc.
SANDBOX = """
set -e
mount --make-rprivate /
mount --bind "$1" /etc
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
install -d -o kamailio -g kamailio /run/esl-shield-edge
mount -t tmpfs -o mode=0000 tmpfs /home
mount -t tmpfs -o mode=0000 tmpfs /root
mount -o remount,bind,ro /etc
mount -o remount,bind,ro /
shift
exec prlimit --core=0 \
  setpriv --reuid kamailio --regid kamailio --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze") and os.environ.get("CI") != "true", reason="systemd-analyze is not there"
)


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    """The unit's [Service]; of a setting given twice the last one."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(UNIT)
    return unit["Service"]


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_PAGER": ""}
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env=environment)


@needs_systemd
def test_systemd_takes_the_unit():
    """Every setting is one systemd knows, with a value it understands."""
    done = _analyze("verify", str(UNIT))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_little_left_to_take_away():
    """The exposure systemd computes is at most 1.5 of 10."""
    done = _analyze("security", "--offline=true", "--threshold=15", str(UNIT))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("missing", SECRETS)
@pytest.mark.parametrize("spoil", [dict.pop, lambda them, name: them.update({name: ""})], ids=["absent", "empty"])
def test_no_start_without_every_secret(service, missing, spoil):
    """The check before the start passes with all three and fails, naming it, without any one of them."""
    check = shlex.split(service["ExecStartPre"].replace("$$", "$"))
    secrets = dict.fromkeys(SECRETS, "9f3c")
    assert subprocess.run(check, env=secrets, check=False).returncode == 0
    spoil(secrets, missing)
    done = subprocess.run(check, env=secrets, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert missing in done.stderr
    assert "9f3c" not in done.stderr


@pytest.mark.parametrize("missing", SECRETS)
def test_kamailio_itself_refuses_to_start_without_a_secret(tmp_path, missing):
    """The configuration is none while a secret is not in the environment, however Kamailio was started."""
    resolver = Resolver()
    edge = Edge(tmp_path / "edge", resolver.url, ["1 sip:127.0.0.1:9 0 0 name=x"])
    edge.stop()
    resolver.stop()
    check = [*COMMAND, "-c", "-f", str(edge.folder / "kamailio.cfg")]
    assert subprocess.run(check, env=edge.environment, capture_output=True, check=False).returncode == 0
    del edge.environment[missing]
    done = subprocess.run(check, env=edge.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert missing in done.stderr


class UnitsEdge(Edge):
    """An edge started by the unit's ExecStart, its files where the unit looks for them, its privileges gone."""

    def command(self) -> list[str]:
        """Lay out a stand-in for /etc and run the line within."""
        stand_in = self.folder / "etc"
        shutil.rmtree(stand_in, ignore_errors=True)
        shutil.copytree("/etc", stand_in, symlinks=True, ignore_dangling_symlinks=True)
        home = stand_in / "esl-shield" / "edge"
        home.mkdir(parents=True)
        for path in self.folder.iterdir():
            if path.is_file() and path != self.log:
                (home / path.name).write_text(path.read_text().replace(str(self.folder), HOME))
                shutil.chown(home / path.name, "root", "kamailio")
                (home / path.name).chmod(0o640)
        shutil.chown(home, "root", "kamailio")
        home.chmod(0o750)
        (home.parent).chmod(0o755)
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str
        unit.read(UNIT)
        line = shlex.split(unit["Service"]["ExecStart"])
        return ["unshare", "--mount", "sh", "-c", SANDBOX, "sh", str(stand_in), *line, "-E"]


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path(SYSTEM).exists(), reason="needs root and Debian's Kamailio at its own place"
)
def test_a_call_passes_with_everything_taken_away(tmp_path, service):
    """Started by the unit's own line as its user, without capabilities, core files or a disk to write to, it serves."""
    resolver = Resolver({"81000000000001": "+441134960001"})
    carrier = Peer()
    edge = UnitsEdge(tmp_path / "edge", resolver.url, [f"1 sip:{HOST}:{carrier.port} 0 0 name=x"])
    switch = Switch(edge.inside)
    try:
        call = switch.invite("81000000000001")
        invite = carrier.expect("INVITE")
        carrier.reply(invite, 486, tag="t")
        call.ack_refusal(call.expect(486))
        process = Path(f"/proc/{edge.process.pid}")
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        user = pwd.getpwnam(service["User"])
        assert status["Uid"].split() == [str(user.pw_uid)] * 4
        assert status["Gid"].split() == [str(user.pw_gid)] * 4
        assert status["NoNewPrivs"] == "1"
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {0}
        limits = (process / "limits").read_text()
        assert [line.split()[4] for line in limits.splitlines() if line.startswith("Max core")] == ["0"]
    finally:
        edge.stop()
        resolver.stop()
        carrier.close()
        switch.close()
