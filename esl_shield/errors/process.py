"""Errors of commands and processes and their operating system."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, InputRejected, ShieldError, UsageError


class TimeRejected(InputRejected):
    """An option's value is no moment or no span of time."""

    error_id = "time.rejected"
    sentence = "What was given as {option} was not understood: {option} takes {forms}."


class LookupsForbidden(UsageError):
    """The login has no rate of look-ups, so it may make none."""

    error_id = "leakscan.lookups_forbidden"
    sentence = (
        "The database lets this login look up no number: give it a rate with esl-shield db login --role scanner "
        "--lookups-per-s N."
    )


class WorkerMisplaced(UsageError):
    """The worker has what it must not have, or lacks what it cannot work without."""

    error_id = "worker.misplaced"
    sentence = "The worker does not start: {problem}."


class NotHardened(ShieldError):
    """The operating system did not let the process protect its memory; it does not start."""

    error_id = "process.not_hardened"
    sentence = "The process could not be protected: {step} failed; run it on a Linux that allows it."


class SystemRefused(ShieldError):
    """The operating system refused what a command needs: a file, a folder, space on a disk."""

    error_id = "process.os_error"
    sentence = "The operating system refused to go on{place}: {problem}."


class Unexpected(ShieldError):
    """Something happened that nothing here was written for: a defect in this package."""

    error_id = "process.unexpected"
    sentence = "An unexpected {kind} ended the command at {places}; please report this line."


class SiteFailed(ShieldError):
    """The demo's site on this machine could not be set up."""

    error_id = "tryout.site_failed"
    exit_code = 3
    sentence = "The site could not be set up at {step}: {problem}."


class AddressTaken(DependencyAway):
    """The supervisor cannot have an address its processes shall listen on."""

    error_id = "serve.address_taken"
    sentence = (
        "The address {address} cannot be had ({problem}): end what listens there, or change the address; `ss -ltnp` "
        "says who it is."
    )
