"""Errors of tenants and their own numbers."""

from __future__ import annotations

from esl_shield.errors import InputRejected, NegativeAnswer


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


class DidUnknown(NegativeAnswer):
    """The tenant has no such DID."""

    error_id = "did.unknown"
    sentence = "Tenant {tenant} has no such DID; see esl-shield did list."


class MaskRejected(InputRejected):
    """What should say how a label is shown is no pattern."""

    error_id = "mask.rejected"
    sentence = "The mask was not taken: it is one of {known}, or keep N M with N and M from 0 to 6."
