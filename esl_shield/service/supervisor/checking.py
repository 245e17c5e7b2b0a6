"""Asking a role, as its user, whether it would start with a configuration, and where it listens.

Invariants: the supervisor waits for no answer: it looks whether one is there; an answer that does not come in time is a
refusal; what a check says on stderr is one of our sentences, which hold no secret.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from esl_shield.errors.config import ConfigError
from esl_shield.service.supervisor.kinds import Description
from esl_shield.service.supervisor.spawning import environment

if TYPE_CHECKING:
    from esl_shield.config.serve import ProcessConfig
    from esl_shield.service.supervisor.kinds import Kind
    from esl_shield.service.supervisor.spawning import User


class Check:
    """One ``esl-shield --config FILE serve --describe ROLE`` under way."""

    def __init__(self, process: ProcessConfig, kind: Kind, user: User | None, deadline: float) -> None:
        """Start it; raises OSError."""
        self._process = process
        self._deadline = deadline
        self._popen = subprocess.Popen(  # noqa: S603 - our own command line
            kind.describe_argv(process.role, process.config),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
            user=user.uid if user else None, group=user.gid if user else None,
            extra_groups=list(user.groups) if user else None, process_group=0,
        )  # fmt: skip

    @property
    def source(self) -> str:
        """The file that is checked."""
        return self._process.config

    def is_done(self, now: float) -> bool:
        """Look whether there is an answer; one that takes too long is ended."""
        if self._popen.poll() is None and now > self._deadline:
            self._popen.kill()
        return self._popen.poll() is not None

    def answer(self) -> Description:
        """Return what a check that is done said; raises ConfigError."""
        out, said = self._popen.communicate()
        if self._popen.returncode == 0:
            try:
                return Description.parse(out.decode())
            except ValueError:
                raise ConfigError(source=self.source, problem="its check gave no description") from None
        lines = said.decode(errors="replace").strip().splitlines()
        sentence = lines[-1].removeprefix("esl-shield: ") if lines else f"its check ended with {self._popen.returncode}"
        raise ConfigError(source=f"{self.source} ({self._process.role})", problem=sentence.rstrip("."))

    def drop(self) -> None:
        """End it and forget what it says."""
        self._popen.kill()
        self._popen.communicate()
