"""Every error this package raises, grouped by what causes it.

Invariants: each error has one stable id (``area.reason``), one sentence that says what happened, to which thing and
what to do, and the exit code its group ends a command with. Fields named in a sentence never hold a telephone number.
"""

from __future__ import annotations

from typing import ClassVar


class ShieldError(Exception):
    """Base of all our errors; ``sentence`` is filled from the keyword fields given to the constructor."""

    error_id: ClassVar[str]
    sentence: ClassVar[str]
    exit_code: ClassVar[int] = 2

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__(self.sentence.format(**fields))

    def __str__(self) -> str:
        return f"{self.args[0]} [{self.error_id}]"


# --- a human's mistake: usage or configuration (exit 2) ---------------------------------------------------------


class UsageError(ShieldError):
    """The caller asked for something that cannot be done as asked."""


class ConfigError(UsageError):
    """The configuration file cannot be used."""

    error_id = "config.invalid"
    sentence = "The configuration {source} is not usable: {problem}."

    def in_file(self, path: str) -> ConfigError:
        """Return this error with the file named too, when it names only a section or no file at all."""
        source = str(self.fields["source"])
        if source == "file":
            return ConfigError(source=path, problem=self.fields["problem"])
        if source.startswith("["):
            return ConfigError(source=f"{path}: {source}", problem=self.fields["problem"])
        return self


class ConfigExposed(UsageError):
    """The configuration file holds a password and others than its owner can read it."""

    error_id = "config.exposed"
    sentence = (
        "The configuration {source} holds a password and has mode {mode}, so others can read it: chmod 600 it, and "
        "think of the password as known to others."
    )


class RolesMissing(UsageError):
    """The cluster-wide roles were not made yet, or the caller is not a member of the owner."""

    error_id = "database.roles_missing"
    sentence = "The database lacks {roles}; run `esl-shield db roles` as an administrator first."


class FreeSwitchRefused(UsageError):
    """FreeSWITCH's event socket did not let us in."""

    error_id = "esl.login_refused"
    sentence = "FreeSWITCH's event socket at {address} did not let us in: {why}; check [freeswitch]."


class SchemaRefused(UsageError):
    """PostgreSQL did not let an administrator change schema, roles or logins; nothing was changed."""

    error_id = "database.schema_refused"
    sentence = "The database refused the change: {problem}; nothing was changed."


class NothingToDowngrade(UsageError):
    """The database has no revision to go back to."""

    error_id = "database.nothing_to_downgrade"
    sentence = "There is nothing to undo: this database has {what}."


class DatabaseRefused(UsageError):
    """PostgreSQL refused a statement: a right is missing, or program and schema do not fit each other.

    ``sqlstate`` is PostgreSQL's code of five characters, or one of ours (ES...). Its message is left out: it may quote
    rows.
    """

    error_id = "database.refused"
    sentence = (
        "The database refused {function} with SQLSTATE {sqlstate}; check the login's role and run "
        "`esl-shield db upgrade`."
    )

    def __init__(self, *, function: str, sqlstate: str) -> None:
        super().__init__(function=function, sqlstate=sqlstate)
        self.sqlstate = sqlstate


class LoginRefused(DatabaseRefused):
    """PostgreSQL did not let the login in: its name, its password, its database or a right to connect is wrong.

    ``problem`` is the server's sentence, which names logins, hosts and databases only; ``sqlstate`` is empty when libpq
    did not pass it on.
    """

    error_id = "database.login_refused"
    sentence = "The database did not let the login in: {problem}; check the [database] url and its password."

    def __init__(self, *, problem: str, sqlstate: str) -> None:
        ShieldError.__init__(self, problem=problem)
        self.sqlstate = sqlstate


class RightMissing(DatabaseRefused):
    """The login is another role's than the one the command needs."""

    error_id = "database.right_missing"
    sentence = "The database refused {function}, which takes the login of {needs}: name that login in [database] url."

    def __init__(self, *, function: str, needs: str) -> None:
        ShieldError.__init__(self, function=function, needs=needs)
        self.sqlstate = "42501"


class LookupsForbidden(UsageError):
    """The login has no rate of look-ups, so it may make none."""

    error_id = "leakscan.lookups_forbidden"
    sentence = (
        "The database lets this login look up no number: give it a rate with esl-shield db login --role scanner "
        "--lookups-per-s N."
    )


class LoginMisplaced(UsageError):
    """A process's database login has another process's rights too."""

    error_id = "database.login_misplaced"
    sentence = (
        "The database login of this {process} may also call {function}, which is another process's right: give each "
        "its own with `esl-shield db login`."
    )


class InputRejected(UsageError):
    """Data given to a command cannot be taken."""


class LoginRejected(InputRejected):
    """A database login cannot be made as asked."""

    error_id = "login.rejected"
    sentence = "The login {login} was not made: {why}."


class NumberRejected(InputRejected):
    """Text that should be a telephone number is none; ``reason`` is a short stable word for it."""

    error_id = "number.rejected"
    sentence = "The telephone number was not taken ({reason}): {why}."


class NumberInArgument(InputRejected):
    """Somebody put what may be a telephone number on the command line."""

    error_id = "number.in_argument"
    sentence = (
        "{argument} was not taken and may be a telephone number: numbers are never given as arguments, because the "
        "process list and the shell's history keep them; give it on standard input, and clear the history."
    )


class TokenMalformed(InputRejected):
    """Text that should be a token fails the grammar."""

    error_id = "token.malformed"
    sentence = "What was given is no token: its length or its check digit is wrong."


class CheckDigitWrong(InputRejected):
    """Text has the length and the prefix of the tenant's tokens and not their check digit."""

    error_id = "token.check_digit"
    sentence = (
        "What was given has the form of a token of tenant {tenant}, but its check digit is wrong: a digit was "
        "mistyped, or two were swapped."
    )


class AliasRejected(InputRejected):
    """Text that should be an alias is not allowed to be one."""

    error_id = "alias.rejected"
    sentence = "The alias was not taken ({reason}): {why}."


class LabelRejected(InputRejected):
    """A label's name or value is not allowed."""

    error_id = "label.rejected"
    sentence = "A label was not taken ({reason}): {why}."


class ExpiryRejected(InputRejected):
    """An expiry is not a moment in the future."""

    error_id = "expiry.rejected"
    sentence = "The expiry was not taken ({reason}): {why}."


class TimeRejected(InputRejected):
    """An option's value is no moment or no span of time."""

    error_id = "time.rejected"
    sentence = "What was given as {option} was not understood: {option} takes {forms}."


class AliasTaken(InputRejected):
    """The alias names another token of the tenant."""

    error_id = "alias.taken"
    sentence = "The alias already names another token of tenant {tenant}; nothing was changed."


class TextRejected(InputRejected):
    """A case's id or a reason is not fit to be kept."""

    error_id = "reveal.bad_text"
    sentence = "What was given as {option} was not taken: {why}."


class NoTerminal(UsageError):
    """The answer of a reveal would go where it is kept without anybody deciding so."""

    error_id = "reveal.no_terminal"
    sentence = (
        "The answer is printed to a terminal, or with --output FILE into a new file of yours; nothing was opened or "
        "used."
    )


class CsvRejected(InputRejected):
    """The import file as a whole cannot be read."""

    error_id = "import.bad_csv"
    sentence = "{source} cannot be imported: {problem}."


class OutputRejected(InputRejected):
    """The import's output cannot be written where it was asked for."""

    error_id = "import.bad_output"
    sentence = "The output {path} cannot be written: {problem}."


class SpaceFull(InputRejected):
    """The tenant has so many tokens that dialling at random would find one too often."""

    error_id = "token.space_full"
    sentence = (
        "Tenant {tenant} may have {capacity} tokens of {length} digits, so that random dialling finds nobody, and they "
        "are used up; set its token length to {suggested} ({suggested_capacity} tokens) with esl-shield tenant resize "
        "{tenant} --length {suggested}, and run the import again."
    )


class TenantUnknown(InputRejected):
    """No such tenant, or this login may not see it."""

    error_id = "tenant.unknown"
    sentence = "There is no tenant {tenant} that this database login may see; see esl-shield tenant list."


class TenantRejected(InputRejected):
    """A tenant cannot be added with these values."""

    error_id = "tenant.rejected"
    sentence = "The tenant was not added or changed: {problem}."


class TenantTaken(InputRejected):
    """A tenant's name, domain or prefix is in use; ``clash`` says which."""

    error_id = "tenant.taken"
    sentence = "Tenant {tenant} was not added: {clash}; see esl-shield tenant list."


class DidRejected(InputRejected):
    """One of the call centre's own numbers cannot be taken as given; nothing was changed."""

    error_id = "did.rejected"
    sentence = "The DID{place} was not taken: {problem}; nothing was changed."


class DidTaken(InputRejected):
    """A DID belongs to another tenant; nothing was changed."""

    error_id = "did.taken"
    sentence = (
        "The DID {did} is another tenant's; remove it there with esl-shield did remove first. Nothing was changed."
    )


# --- a negative answer (exit 1) -----------------------------------------------------------------------------------


class NegativeAnswer(ShieldError):
    """The question was understood and the answer is no."""

    exit_code = 1


class TokenUnknown(NegativeAnswer):
    """The tenant has no such token or alias."""

    error_id = "token.unknown"
    sentence = "Tenant {tenant} has no such token or alias."


class DidUnknown(NegativeAnswer):
    """The tenant has no such DID."""

    error_id = "did.unknown"
    sentence = "Tenant {tenant} has no such DID; see esl-shield did list."


class RevealRefused(NegativeAnswer):
    """A step of a reveal was refused; the reason is in the audit trail only."""

    error_id = "reveal.refused"
    sentence = (
        "This step was refused: the reveal may be unknown, over, used, denied, another's or yours to approve, or a "
        "right may be missing; an auditor finds the reason with esl-shield audit tail --kind reveal.refused."
    )


class RevealLost(NegativeAnswer):
    """A reveal was used and its answer reached nobody."""

    error_id = "reveal.lost"
    sentence = "The reveal {id} is used up and its answer was not printed ({problem}); request it anew."


class CallUnknown(NegativeAnswer):
    """The tenant has no call of that id, or the login does not see it."""

    error_id = "call.unknown"
    sentence = "The tenant has no call {call}; `call list` shows the ids."


# --- something we need is away (exit 3) ---------------------------------------------------------------------------


class DependencyAway(ShieldError):
    """A service this process depends on did not answer in time; the same request may succeed later."""

    exit_code = 3


class DatabaseAway(DependencyAway):
    """PostgreSQL refused the connection, dropped it or did not answer in time."""

    error_id = "database.away"
    sentence = "The database did not answer: {problem}; check [database] url and that PostgreSQL runs."


class ResolverAway(DependencyAway):
    """The resolver refused the connection, did not answer in time or said that it cannot work now."""

    error_id = "resolver.away"
    sentence = "The resolver at {address} did not answer: {problem}; check [reveals] resolver and that it is well."


class FreeSwitchAway(DependencyAway):
    """FreeSWITCH's event socket refused the connection, dropped it or did not answer in time."""

    error_id = "esl.away"
    sentence = (
        "FreeSWITCH's event socket at {address} did not answer: {problem}; check [freeswitch] address and that it runs."
    )


class EmbeddedUnavailable(DependencyAway):
    """The private PostgreSQL of the demo and the tests could not be started."""

    error_id = "database.embedded"
    sentence = "The embedded PostgreSQL is not available: {problem}."


# --- keys and ciphertext: wrong, damaged or missing (exit 2) ------------------------------------------------------


class CryptoError(ShieldError):
    """A key or a ciphertext is not what it must be; nothing was decrypted."""


class KekMissing(CryptoError):
    """The key-encryption key is not where the configuration says."""

    error_id = "keys.kek_missing"
    sentence = (
        "There is no KEK at {source}: restore it from its backup, or for a new installation run esl-shield keys init."
    )


class KekExposed(CryptoError):
    """Others than its owner can read the key-encryption key."""

    error_id = "keys.kek_exposed"
    sentence = (
        "The KEK at {source} is not used because {problem}: let only its owner read it (chmod 0400), and think of it "
        "as known to others."
    )


class KekUnusable(CryptoError):
    """The key-encryption key is there and cannot be used."""

    error_id = "keys.kek_unusable"
    sentence = "The KEK at {source} cannot be used: {problem}."


class KekLost(CryptoError):
    """The database holds keys and the KEK that wraps them is not there."""

    error_id = "keys.kek_lost"
    sentence = (
        "The database holds keys wrapped under KEK {wanted} and there is no KEK at {source}: restore it from its "
        "backup; a new one could open none of them."
    )


class OtherKek(CryptoError):
    """The database's keys are wrapped under another KEK than the configured one."""

    error_id = "keys.other_kek"
    sentence = (
        "The database's keys are wrapped under KEK {wanted}, but the configured KEK is {given}: configure the right "
        "one in [keys] kek; nothing was changed."
    )


class WrongKek(CryptoError):
    """A data key is wrapped under another key-encryption key than the one opened."""

    error_id = "keys.wrong_kek"
    sentence = (
        "The {purpose} key version {version} is wrapped under KEK {wanted}, but the configured KEK is {given}; "
        "configure the right one in [keys] kek."
    )


class KeyDamaged(CryptoError):
    """A wrapped key was changed, cut short or belongs to another tenant, purpose or version."""

    error_id = "keys.damaged"
    sentence = "The wrapped {purpose} key version {version} is damaged or another's; restore the row from a backup."


class KeysMissing(CryptoError):
    """A tenant has no keys yet."""

    error_id = "keys.missing"
    sentence = "Tenant {tenant} has no keys yet; run esl-shield keys init as the administrator."


class CipherDamaged(CryptoError):
    """A ciphertext was changed, cut short, or belongs to another token or tenant."""

    error_id = "cipher.damaged"
    sentence = "A ciphertext is damaged or another token's; nothing was decrypted."


class CipherUnknownFormat(CryptoError):
    """A ciphertext is of a format or algorithm this version does not know."""

    error_id = "cipher.unknown_format"
    sentence = (
        "A ciphertext has format {format} and algorithm {algorithm}, which this version does not know; upgrade, or "
        "restore it from a backup."
    )


class CipherOtherVersion(CryptoError):
    """A ciphertext was made under another data key than the one given."""

    error_id = "cipher.other_key_version"
    sentence = "A ciphertext was made under data key version {found}, not {given}; nothing was decrypted."


# --- FreeSWITCH's event socket ------------------------------------------------------------------------------------


class EslError(ShieldError):
    """The conversation with FreeSWITCH cannot go on; this call's session ends, the process lives."""


class SessionGone(EslError):
    """FreeSWITCH ended the socket, or it was closed; no further command reaches the call."""

    error_id = "esl.gone"
    sentence = "The event socket of this call is gone: {reason}."


class FrameRejected(EslError):
    """FreeSWITCH's side sent what is not the event socket's grammar, or more than the limits allow."""

    error_id = "esl.bad_frame"
    sentence = "The event socket sent a frame that cannot be taken: {reason}."


class CommandRefused(EslError):
    """FreeSWITCH answered a command with -ERR."""

    error_id = "esl.command_refused"
    sentence = "FreeSWITCH refused the command {command}."


class EslTimeout(EslError):
    """FreeSWITCH did not answer in time."""

    error_id = "esl.timeout"
    sentence = "FreeSWITCH did not answer within {timeout_s} s while we waited for {awaited}."


class UnsafeMethod(EslError):
    """An inherited method of the event socket library that cannot be used safely."""

    error_id = "esl.unsafe_method"
    sentence = "The method {method} is not available on this session; use {instead}."


class UnsafeArgument(EslError):
    """A value that could change the meaning of a command was about to be sent to FreeSWITCH."""

    error_id = "esl.unsafe_argument"
    sentence = "The {what} holds control characters or is too long for FreeSWITCH; nothing was sent."


# --- one shielded call --------------------------------------------------------------------------------------------


class CallError(ShieldError):
    """A call cannot be taken as it was handed over; that call is refused, the process lives."""


class HandoffRejected(CallError):
    """The parked channel's data does not describe a call."""

    error_id = "call.bad_handoff"
    sentence = "FreeSWITCH handed over a channel we cannot use: {what}; check the dialplan's socket action."


class IllegalTransition(CallError):
    """A call was moved to a state the table does not allow: a defect in this package."""

    error_id = "call.illegal_transition"
    sentence = "A call cannot go from {current} to {following}; please report this."


# --- the resolver's callers: the answer is always the same, the reason is counted --------------------------------


class CallerError(ShieldError):
    """A request to the resolver is refused before the database is asked; ``reason`` is one of a fixed few."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason=reason)
        self.reason = reason


class RequestRejected(CallerError):
    """The request is not one the resolver takes."""

    error_id = "resolver.bad_request"
    sentence = "A request to the resolver was refused: {reason}."


class CallerRejected(CallerError):
    """The caller did not prove who it is."""

    error_id = "resolver.bad_caller"
    sentence = "A caller of the resolver did not prove who it is: {reason}."


# --- the process and its operating system ------------------------------------------------------------------------


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


class WorkerMisplaced(UsageError):
    """The worker has what it must not have, or lacks what it cannot work without."""

    error_id = "worker.misplaced"
    sentence = "The worker does not start: {problem}."


class SiteFailed(ShieldError):
    """The demo's site on this machine could not be set up."""

    error_id = "tryout.site_failed"
    exit_code = 3
    sentence = "The site could not be set up at {step}: {problem}."
