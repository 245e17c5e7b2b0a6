"""Area sealing: what is said of each thing that can be wrong with seals."""

from __future__ import annotations

import stat

import pytest

from esl_shield.audit.heads import Written
from esl_shield.service.doctor.files import FileFacts
from esl_shield.service.doctor.finding import Severity
from esl_shield.service.doctor.seals import AREA, SealFacts

KEY = FileFacts("/k", stat.S_IFREG | 0o400, 7)
SEALER = SealFacts("sealer", 7, KEY, Written(5, "aa", 5), "aa", 5, blocks=5)
CASES = {
    "all_is_well": (SEALER, set()),
    "key_of_others": (SealFacts("sealer", 7, FileFacts("/k", stat.S_IFREG | 0o440, 7)), {"sealing.key"}),
    "key_of_another_user": (SealFacts("sealer", 8, KEY), {"sealing.key"}),
    "key_is_gone": (SealFacts("sealer", 7, FileFacts("/k", None)), {"sealing.key"}),
    "rolled_back": (SealFacts("sealer", 7, KEY, Written(5, "aa"), "", 3), {"sealing.held"}),
    "forked": (SealFacts("sealer", 7, KEY, Written(5, "aa"), "bb", 5), {"sealing.held"}),
    "not_exported": (SealFacts("sealer", 7, KEY, Written(5, "aa"), "aa", 9), {"sealing.exported"}),
    "late": (SealFacts("auditor", 7, lag_s=61.0, blocks=3), {"sealing.lag"}),
    "never_sealed": (SealFacts("auditor", 7, lag_s=0.0, blocks=0), {"sealing.lag"}),
    "in_time": (SealFacts("auditor", 7, lag_s=2.0, blocks=3), set()),
    "no_journal": (SealFacts("resolver", 7), {"sealing.journal"}),
    "journal": (SealFacts("resolver", 7, KEY, journal=True), set()),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_what_is_wrong_with_seals_is_said(case):
    """Exactly the checks that should complain do."""
    facts, expected = CASES[case]
    findings = AREA.run(lambda: facts, required=False)
    assert {f.check for f in findings if f.severity in (Severity.WARNING, Severity.CRITICAL)} == expected
