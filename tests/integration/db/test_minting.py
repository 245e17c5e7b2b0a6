"""A worker's login that mints permits nobody redeems, or somebody else does, is locked; never all at once."""

from __future__ import annotations

import pytest
from shield_calls import Attempt, reasons

from esl_shield.config.endings import MintingConfig
from esl_shield.service.minting import MintWatch


class Site:
    """Two workers, a resolver and the watch, at a time of the test's own."""

    def __init__(self, database) -> None:
        self.database = database
        logins = [database.login("worker", ["acme"]) for _ in range(2)]
        self.workers = [database.open(login) for login in logins]
        self.resolver = database.open(database.login("resolver", ["acme"]))
        self.now = 0.0
        self._reaper = database.open(database.login("reaper"))
        self.watch = self.begin()

    def begin(self, **config):
        """A watch that began now."""
        watch = MintWatch(self._reaper, MintingConfig(least=4, elsewhere=2, **config), clock=lambda: self.now)
        watch.look()
        return watch

    def call(self, worker, count, *, redeem=True, **asked):
        """Calls of one worker, redeemed (with what was asked changed) or not."""
        for _ in range(count):
            attempt = Attempt()
            assert attempt.authorize(self.workers[worker]) == ("ALLOWED",)
            if redeem:
                attempt.redeem(self.resolver, **asked)

    def look(self, watch=None):
        """Let the calls' time pass and look."""
        self.database.query("ALTER TABLE shield.audit_events NO FORCE ROW LEVEL SECURITY")
        self.database.query("UPDATE shield.audit_events SET at = at - interval '16 seconds'")
        self.database.query("ALTER TABLE shield.audit_events FORCE ROW LEVEL SECURITY")
        self.now += 30.0
        (watch or self.watch).look()

    def locked(self):
        """Which of the workers may not mint, and what for."""
        rows = self.database.query(
            "SELECT locked_for FROM shield.logins WHERE role = 'worker' ORDER BY mapped_at, login"
        )
        return [row[0] for row in rows]


@pytest.fixture
def site(database, tenants):
    return Site(database)


def test_a_login_whose_permits_nobody_redeems_is_locked(site, database):
    """Its calls are refused from then on, the other's are not; the event says the figures."""
    site.call(0, 4, redeem=False)
    site.call(1, 4)
    site.look()
    assert site.locked() == ["unredeemed", None]
    assert Attempt().authorize(site.workers[0]) == ("FORBIDDEN",)
    assert Attempt().authorize(site.workers[1]) == ("ALLOWED",)
    assert reasons(database, "call.refused") == ["login_locked"]
    ((detail,),) = database.query("SELECT detail FROM shield.audit_events WHERE kind = 'login.locked'")
    assert (detail["calls"], detail["unredeemed"], detail["elsewhere"]) == (4, 4, 0)
    site.look()
    assert database.query("SELECT count(*) FROM shield.audit_events WHERE kind = 'login.locked'") == [(1,)]


def test_a_login_whose_permits_others_bring_is_locked(site):
    """Two permits brought by another gateway than they were minted for are enough."""
    site.call(1, 2, gateway="other")
    site.look()
    assert site.locked() == [None, "redeemed_elsewhere"]


def test_few_calls_and_calls_that_still_have_time_say_nothing(site):
    """Three calls are too few, and permits of this moment may yet be redeemed."""
    site.call(0, 3, redeem=False)
    site.look()
    site.call(0, 4, redeem=False)
    site.now += 30.0
    site.watch.look()
    assert site.locked() == [None, None]


def test_calls_before_the_window_say_nothing(site):
    """A watch that began later, or in whose window they are no more, does not count them."""
    site.call(0, 4, redeem=False)
    later = site.begin()
    for _ in range(11):
        site.now += 30.0
        site.watch.look()
    site.look(later)
    site.now -= 30.0
    site.look()
    assert site.locked() == [None, None]


def test_never_all_logins_are_locked_unless_the_site_wants_it(site, caplog):
    """When no permit at all is redeemed it is the resolver that is away: that is logged, and nobody is locked."""
    for worker in (0, 1):
        site.call(worker, 4, redeem=False)
    site.look()
    assert site.locked() == [None, None]
    assert [record.message for record in caplog.records] == ["minting.spared"] * 2
    every = site.begin(lock_all=True)
    for worker in (0, 1):
        site.call(worker, 4, redeem=False)
    site.look(every)
    assert site.locked() == ["unredeemed", "unredeemed"]


def test_an_administrator_unlocks_a_login(site, database):
    """It mints again; the reason stands in the trail."""
    site.call(0, 4, redeem=False)
    site.look()
    login = database.query("SELECT login FROM shield.logins WHERE locked_at IS NOT NULL")[0][0]
    for name, outcome in ((login, "unlocked"), (login, "unchanged"), ("nobody", None)):
        assert database.query("SELECT shield_api.unlock_login(%s, 'edge was moved')", name) == [(outcome,)]
    assert Attempt().authorize(site.workers[0]) == ("ALLOWED",)
    assert database.query("SELECT detail ->> 'why' FROM shield.audit_events WHERE kind = 'login.unlocked'") == [
        ("edge was moved",)
    ]
