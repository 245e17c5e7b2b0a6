"""Acme with a token, its worker, and a dispatcher that posts what happens to its calls."""

from __future__ import annotations

import contextlib

from esl_shield.config.webhooks import WebhooksConfig
from esl_shield.service.webhooks import admin
from esl_shield.service.webhooks.dispatcher import Dispatcher

MASTER = b"a-master-secret-of-32-characters"


class Lab:
    """One database; its administrator adds webhooks, calls happen, a dispatcher works until nothing is due."""

    def __init__(self, database):
        self.database = database
        tenant = database.tenant("acme", prefix="91")
        database.tokens(tenant, "91000000000018", alias="customer-1")
        self.admin = database.admin
        self.worker = database.open(database.login("worker", ["acme"]))
        self._login = database.login("dispatcher", ["acme"])

    def add(self, receiver, name="crm", kinds=tuple(admin.KINDS)):
        return admin.set_webhook(self.admin, "acme", name, receiver.url, kinds)

    @contextlib.contextmanager
    def dispatcher(self, **settings):
        made = Dispatcher(self.database.open(self._login), WebhooksConfig("file:/f", **settings), master=MASTER)
        with contextlib.closing(made):
            yield made

    def dispatch(self, **settings):
        """Post until nothing is due."""
        with self.dispatcher(**settings) as made:
            return made.run_dry()

    def later(self, seconds):
        """Let so much time have passed for all that waits."""
        ago = f"- interval '{seconds} seconds'"
        self.database.query(
            f"UPDATE shield.webhook_events SET next_at = next_at {ago}, since = since {ago}, dead_at = dead_at {ago}"
        )
        self.database.query(f"UPDATE shield.webhooks SET paused_until = paused_until {ago}")

    def waiting(self, column="kind"):
        rows = self.database.query(f"SELECT {column} FROM dba.webhook_events WHERE dead_at IS NULL ORDER BY id")
        return [row[0] for row in rows]
