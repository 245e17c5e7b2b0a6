"""Errors of the audit trail's seals: keys, heads, blocks, journals."""

from __future__ import annotations

from esl_shield.errors import DependencyAway, InputRejected, NegativeAnswer, ShieldError, UsageError


class SealingKeyUnusable(ShieldError):
    """A key that signs blocks or journals, or its public half, is not what it must be."""

    error_id = "sealing.key_unusable"
    sentence = "The key {source} cannot be used: {problem}; esl-shield audit init-key makes one."


class ChainUnknown(UsageError):
    """The chain in the database does not end with a block of this sealer's key."""

    error_id = "sealing.chain_unknown"
    sentence = (
        "The sealer does not go on: block {block}, the newest in the database, {problem}; run esl-shield audit verify "
        "and look who changed it."
    )


class HeadLost(UsageError):
    """The database's chain is not the one whose head was exported: it was restored, or rolled back."""

    error_id = "sealing.head_lost"
    sentence = (
        "The sealer does not go on: block {block} was exported and is not in the database, as after a restore; run "
        "esl-shield audit verify, and once what is lost is known esl-shield sealer --accept-restore REASON."
    )


class NothingLost(UsageError):
    """A restore was to be accepted and there was none."""

    error_id = "sealing.nothing_lost"
    sentence = "The database holds the head that was exported last, so there is no restore to accept."


class CrossingTooLarge(UsageError):
    """More events than fit into one block came with a dump into another cluster."""

    error_id = "sealing.crossing_too_large"
    sentence = (
        "The sealer does not go on: {count} events that no block holds came with a dump into this cluster, and one "
        "block takes {most}; let the sealer finish in the old cluster and take the dump again."
    )


class EvidenceUnreadable(InputRejected):
    """A file of heads, proofs or a journal is not one."""

    error_id = "audit.evidence_unreadable"
    sentence = "{source} cannot be read as {what}: {problem}."


class TrustMissing(UsageError):
    """A verification was asked for with nothing to trust but the database."""

    error_id = "audit.trust_missing"
    sentence = (
        "There is nothing to hold the database against: give --from-head FILE with exported heads, --public-key FILE, "
        "or both."
    )


class NothingSealed(NegativeAnswer):
    """There is no block to verify, or none this login may see."""

    error_id = "audit.nothing_sealed"
    sentence = "There is nothing to verify: {problem}."


class ViewIncomplete(UsageError):
    """The login sees only some tenants' events, and blocks are of all tenants."""

    error_id = "audit.view_incomplete"
    sentence = (
        "This login sees only some tenants, and blocks are of all: verify with an auditor's login made with "
        "esl-shield db login --role auditor --all-tenants."
    )


class HeadsRefused(DependencyAway):
    """The address heads are sent to did not take them."""

    error_id = "sealing.heads_refused"
    sentence = "The address of [sealing] heads_url did not take the heads: {problem}; they are sent again."
