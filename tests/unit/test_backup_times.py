"""What docs/backup.md tells a site to run, against the limits ``backup check`` holds it to."""

from __future__ import annotations

import re
from pathlib import Path

from esl_shield.config.backup import BackupConfig

DOCS = Path(__file__).parents[2] / "docs" / "backup.md"
DEFAULTS = BackupConfig(stanza="shield")
DAYS = range(7)
JOB = re.compile(r"(?P<minute>\d+) +(?P<hour>\d+) +\* +\* +(?P<days>\S+) +(?P<user>\w+) +(?P<command>\S.*)")
BACKUP = re.compile(
    r"for n in (?P<repositories>[\d ]+); do"
    r" pgbackrest --stanza=shield --repo=\$n --type=(?P<type>full|incr) backup; done"
)


def _jobs():
    """Each line of the documented crontab: its days of the week, its hour of the day, its command."""
    (crontab,) = re.findall(r"# /etc/cron\.d/shield-backup\n(.*?)```", DOCS.read_text(), re.DOTALL)
    jobs = [JOB.fullmatch(line.strip()) for line in crontab.splitlines() if line.strip()]
    assert None not in jobs, "every line is a job"
    return [(_days(job["days"]), int(job["hour"]) + int(job["minute"]) / 60, job["command"]) for job in jobs]


def _days(field):
    if field == "*":
        return set(DAYS)
    first, _, last = field.partition("-")
    return set(range(int(first), int(last or first) + 1))


def _backups():
    """The hours of the week each repository's backups of each type are begun at."""
    made = {}
    for days, hour, command in _jobs():
        if what := BACKUP.fullmatch(command):
            for repository in map(int, what["repositories"].split()):
                made.setdefault((repository, what["type"]), []).extend(day * 24 + hour for day in sorted(days))
    return made


def test_the_documented_timers_back_up_each_repository_once_a_day():
    """Each of the three repositories gets one full backup a week and an incremental one on each of the other days."""
    made = _backups()
    assert {repository for repository, _ in made} == set(DEFAULTS.repositories) == {1, 2, 3}
    for repository in DEFAULTS.repositories:
        full, incremental = made[repository, "full"], made[repository, "incr"]
        assert len(full) == 1
        assert len(incremental) == 6
        assert sorted(int(at // 24) for at in full + incremental) == list(DAYS)


def test_a_day_without_a_backup_is_found_by_default():
    """The default limits allow the documented timers, with time to run, and not one backup left out."""
    assert (DEFAULTS.newest_max_age_h, DEFAULTS.full_max_age_h) == (26.0, 170.0)
    made = _backups()
    for repository in DEFAULTS.repositories:
        full, every = made[repository, "full"], sorted(made[repository, "full"] + made[repository, "incr"])
        assert max(_pauses_h(every)) < DEFAULTS.newest_max_age_h < 2 * min(_pauses_h(every))
        assert max(_pauses_h(full)) < DEFAULTS.full_max_age_h < 2 * min(_pauses_h(full))


def test_the_check_runs_daily():
    """``backup check`` itself is documented to run every day."""
    assert [days for days, _, command in _jobs() if command.endswith(" backup check")] == [set(DAYS)]


def _pauses_h(hours):
    return [later - hour for hour, later in zip(hours, [*hours[1:], hours[0] + 24 * 7], strict=True)]
