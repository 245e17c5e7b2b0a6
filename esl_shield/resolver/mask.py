"""One caller masked: the number a customer calls from goes in, the token that stands for it comes out.

Invariants: a number has one token in a tenant, made by the functions imports use, so that concurrent first sights meet
in the database; every token that is told was audited in the same statement; every refusal is the same answer; the
number lives in the local variables of one call and is in no exception. This is the one place besides imports where a
number finds its token, so it has a caller's secret, a login and a rate of its own.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from esl_shield.errors.tokens import NumberRejected
from esl_shield.resolver.redeem import REFUSED, TOKEN, Outcome
from esl_shield.vault import numbers
from esl_shield.vault.candidates import payload_of
from esl_shield.vault.rows import Row
from esl_shield.vault.seeder import draw_candidate
from esl_shield.vault.seedkeys import SeedingTenant, TenantKeys, open_keys, seeding_tenant

if TYPE_CHECKING:
    from collections.abc import Callable

    from esl_shield.resolver.forms import MaskForm
    from esl_shield.resolver.functions import Functions
    from esl_shield.vault.keks import AnyKek

MAX_DIDS = 4096
KEPT_S = 300.0  # how long a DID's tenant and keys are kept; each call's own statement sees whether they still hold
MAX_DRAWS = 8  # of a space with one token in ten thousand taken, this many collisions are no accident
_MASKED, _STALE, _COLLISION = "MASKED", "STALE", "COLLISION"


class _Tenant(NamedTuple):
    """Whose DID it is, the opened keys, until when (monotonic) they are kept."""

    tenant: SeedingTenant
    keys: TenantKeys
    until: float


class Masker:
    """Turns callers' numbers into tokens; safe to call from many greenlets."""

    def __init__(self, database: Functions, kek: AnyKek, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Load the tables that say where a number is from now, so that no call waits for them."""
        numbers.load_tables()
        self._database = database
        self._kek = kek
        self._clock = clock
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()

    def mask(self, form: MaskForm) -> Outcome:
        """Mask for an authenticated caller; raises DatabaseAway, DatabaseRefused, CryptoError."""
        region = numbers.region_of(form.did)
        if region is None:
            return Outcome(REFUSED, "did", call=form.call)
        try:
            number, derived = numbers.parse_derived(form.number, region)
            did = numbers.parse(form.did, region)
        except NumberRejected as error:
            return Outcome(REFUSED, f"number_{error.fields['reason']}", call=form.call)
        if number == did:  # a forged caller: calling back would go in a circle
            return Outcome(REFUSED, "number_is_did", call=form.call)
        row = Row(number, derived, None, None, {})
        verdict = ""
        for _ in range(MAX_DRAWS):
            known = self._tenant(form.did)
            if known is None:
                return Outcome(REFUSED, "did", call=form.call)
            verdict, token = self._ask(form, known, row)
            if verdict == _MASKED:
                return Outcome(TOKEN, "masked", token, call=form.call)
            if verdict == _STALE:
                self._tenants.pop(form.did, None)
            elif verdict != _COLLISION:
                break
        return Outcome(REFUSED, verdict.lower(), call=form.call)

    def _ask(self, form: MaskForm, known: _Tenant, row: Row) -> tuple[str, str]:
        tenant, keys = known.tenant, known.keys
        verdict, token = self._database.call(
            "mask_number", form.did, form.call, tenant.id, keys.index_version, keys.data_version,
            payload_of(0, draw_candidate(tenant, keys, row)),
        )[0]  # fmt: skip
        return verdict, token or ""

    def _tenant(self, did: str) -> _Tenant | None:
        known = self._tenants.get(did)
        if known is None or known.until < self._clock():
            rows = self._database.call("masking_tenant", did)
            if not rows:
                self._tenants.pop(did, None)
                return None
            tenant = seeding_tenant(*rows[0])
            known = self._tenants[did] = _Tenant(tenant, open_keys(self._kek, tenant), self._clock() + KEPT_S)
            if len(self._tenants) > MAX_DIDS:
                self._tenants.popitem(last=False)
        return known
