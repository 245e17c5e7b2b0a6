"""Doctor asks a site about its seals."""

from __future__ import annotations

from esl_shield import config as configuration
from esl_shield.service.doctor.finding import Severity
from esl_shield.service.doctor.seals import AREA, look_at_seals


def test_doctor_asks_a_real_site(site):
    """By the sealer's and an auditor's configuration a site that seals is well, and one rolled back is not."""
    site.write_events(2)
    site.seal()
    key = site.folder / "sealing.key"
    key.write_text(site.seed.hex() + "\n")
    key.chmod(0o400)
    sealing = configuration.SealingConfig(key=f"file:{key}", heads=str(site.heads_path))
    sealer = configuration.Config(database=site.sealer_login, sealing=sealing)
    auditor = configuration.Config(database=site.auditor_login)
    bad = (Severity.WARNING, Severity.CRITICAL)

    def wrong(config, role):
        found = AREA.run(lambda: look_at_seals(config, role), required=True)
        return {finding.check for finding in found if finding.severity in bad}

    assert wrong(sealer, "sealer") - {"sealing.key"} == set()
    assert wrong(auditor, "auditor") == set()
    site.sql("DELETE FROM shield.audit_blocks")
    assert wrong(sealer, "sealer") - {"sealing.key"} == {"sealing.held"}
    assert wrong(auditor, "auditor") == {"sealing.lag"}
