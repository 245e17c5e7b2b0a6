"""One site for all of chaos: by clocks and on a disk that obey."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import tempfile
import urllib.request
from pathlib import Path

import gevent
import pytest
from aside import aside
from clock import clocks
from disk import Disk
from fix_site import BANK, EXTRA, GATEWAYS, SHOP, CallCentre, connected, seed
from freezing import children_of, signal_all
from moments import Held, eventually, numbers_in
from ports import free_port
from preloading import binaries_with

from esl_shield.config.database import DatabaseConfig
from esl_shield.db.binaries import BINARIES_VARIABLE
from esl_shield.db.embedded import ADMIN
from esl_shield.db.engine import sqlalchemy_engine
from esl_shield.errors.database import EmbeddedUnavailable
from esl_shield.tryout.site import Site

ROLES = ("worker", "resolver")


class Scene:
    """A running site that can be brought into trouble."""

    def __init__(self, site, disk, clocks, centre: CallCentre, processes, page):
        self.site, self.disk, self.clocks, self.centre = site, disk, clocks, centre
        self.processes, self._page = processes, page

    def held(self, at, tenant=BANK, redeem=None):
        """Four calls, each at another moment."""
        return Held(self.centre, at, lambda *how: self.place(*how, tenant=tenant), redeem or self.centre.redeem, tenant)

    def place(self, position, carrier=None, redeem=None, *, tenant=BANK, talks_s=3.0, **changes):
        """Have an agent call a customer."""
        call = self.centre.call(tenant, position, carrier, hangs_up_after_s=talks_s, **{"max_s": 40.0} | changes)
        return self.centre.place(call, redeem)

    def answers_again(self, position):
        """A call that goes through: of those that are placed until one does."""
        return eventually(lambda: (r := self.place(position, talks_s=0.05)).bridged and r)

    def holds(self):
        """How many calls, and how many statements about them, the worker holds."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._page}/metrics", timeout=30) as answer:
            page = answer.read().decode()
        names = ("open_calls", "overflow_calls", "untold_records")
        return {name: int(float(re.search(rf"(?m)^esl_shield_worker_{name} (\S+)$", page)[1])) for name in names}

    def is_empty(self):
        """Whether the worker holds nothing; waits for it."""
        return eventually(lambda: not any(self.holds().values()), within_s=15.0)

    def admin(self, statement, *values):
        """What the database's administrator sees or does."""
        with sqlalchemy_engine(DatabaseConfig(self.site.postgres.url(ADMIN))).connect() as connection:
            done = connection.exec_driver_sql(statement, values)
            rows = done.fetchall() if done.returns_rows else []
            connection.commit()
            return rows

    def _kill_database(self):
        postgres = self.site.postgres
        backends = children_of(postgres.pid)
        os.kill(postgres.pid, signal.SIGKILL)
        aside(postgres.halt, "immediate")
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in backends))

    def end_database(self, mode):
        """Crash the server, or end it in order; ``kill``: only its postmaster, and the backends find out."""
        self._kill_database() if mode == "kill" else aside(self.site.postgres.halt, mode)

    def start_database(self):
        """What its unit does when it has died."""
        with contextlib.suppress(EmbeddedUnavailable):
            aside(self.site.postgres.halt, "immediate")
        aside(self.site.postgres.start)

    @contextlib.contextmanager
    def stopped(self, *pids):
        """Processes that get no turn."""
        signal_all(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            signal_all(pids, signal.SIGCONT)


@pytest.fixture(scope="session")
def scene(cluster, tmp_path_factory):
    """A site of chaos's own, well between two tests; asking for ``cluster`` skips without PostgreSQL."""
    folder, page = tmp_path_factory.mktemp("chaos"), free_port()
    more = EXTRA | {"worker": f'[metrics]\nlisten = "127.0.0.1:{page}"\n'}
    with contextlib.ExitStack() as stack:
        shims = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="esl-chaos-", dir="/tmp")))
        shims.chmod(0o755)  # the server's user must reach it
        disk, made = Disk(shims), clocks(shims, "database", *ROLES)
        both = f"{disk.variables['LD_PRELOAD']}:{made['database'].variables['LD_PRELOAD']}"
        binaries = binaries_with(shims, disk.variables | made["database"].variables | {"LD_PRELOAD": both})
        with pytest.MonkeyPatch.context() as going_by:  # this cluster remembers them, others are as they are
            going_by.setenv(BINARIES_VARIABLE, str(binaries))
            site = stack.enter_context(Site(folder, [BANK, SHOP], GATEWAYS, more))
        tokens = {tenant.name: seed(site, tenant, folder) for tenant in (BANK, SHOP)}
        processes = {}
        for role in ROLES:
            with pytest.MonkeyPatch.context() as going_by:
                for name, value in made[role].variables.items():
                    going_by.setenv(name, value)
                processes[role] = site.start(role)
        scene = Scene(site, disk, made, connected(site, tokens, *processes.values()), processes, page)
        for tenant in (BANK, SHOP):
            scene.admin("SELECT shield_api.set_caps(%s, NULL, NULL, NULL)", tenant.name)
        yield scene
        assert not numbers_in(folder, site.postgres.folder / "server.log")


@pytest.fixture(autouse=True)
def nothing_left(request):
    """After each test the site's worker holds nothing."""
    yield
    if "scene" in request.fixturenames:
        gevent.sleep(0)
        assert request.getfixturevalue("scene").is_empty()
