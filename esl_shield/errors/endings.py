"""Errors of the intake of FreeSWITCH's call records."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer


class CdrRejected(InputRejected):
    """What came is no record of mod_json_cdr, or says nothing that could be used; ``reason`` is one of a fixed few."""

    error_id = "intake.rejected"
    sentence = "A call record was not taken: {reason}."

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason=reason)
        self.reason = reason


class SpoolUnreadable(InputRejected):
    """The folder of records FreeSWITCH could not post cannot be worked on."""

    error_id = "intake.spool_unreadable"
    sentence = "The folder {folder} cannot be read and emptied ({problem}); give it to this process's user."


class SpoolLeft(NegativeAnswer):
    """Some files of the folder were not taken."""

    error_id = "intake.spool_left"
    sentence = "{count} records of the folder were not taken: {rejected} set aside as .rejected, {left} left there."
