"""Signed reports: one that was changed anywhere, or signed by another, is not believed."""

from __future__ import annotations

import json
import stat

import pytest

from esl_shield import canonical
from esl_shield.audit import reports
from esl_shield.errors.canary import ReportRejected, SigningKeyUnusable

REPORT = {"verdict": "clean", "files": [{"file": "a\udc80ä", "bytes": 7, "changed": False}], "calls": [], "n": None}


@pytest.fixture
def keys(tmp_path):
    """A pair's path."""
    path = tmp_path / "report.key"
    reports.make_keys(str(path))
    return path


def _signed(keys, tmp_path, change=lambda text: text):
    path = tmp_path / "report.json"
    path.write_text(change(reports.sign(REPORT, reports.private_key(str(keys)))) + "\n")
    return str(path)


def test_what_was_signed_is_read_again(keys, tmp_path):
    """Also when its JSON was laid out anew, which changes nothing that it says."""
    public = reports.public_key(f"{keys}.pub")
    assert reports.verify(_signed(keys, tmp_path), public) == REPORT
    assert reports.verify(_signed(keys, tmp_path, lambda t: json.dumps(json.loads(t), indent=2)), public) == REPORT
    assert stat.S_IMODE(keys.stat().st_mode) == 0o400


CHANGES = {
    "the verdict": lambda t: t.replace('"clean"', '"found"'),
    "a number": lambda t: t.replace('"bytes":7', '"bytes":8'),
    "a type": lambda t: t.replace('"bytes":7', '"bytes":7.0'),
    "a key twice": lambda t: t.replace('"calls":[]', '"calls":[1],"calls":[]'),
    "a field more": lambda t: t.replace('"calls":[]', '"calls":[],"more":1'),
    "a field around": lambda t: t.replace('{"key"', '{"a":1,"key"'),
    "the signature": lambda t: t.replace('"signature":"', '"signature":"A'),
    "no signature": lambda t: t.replace('"signature":"', '"signature":7,"x":"'),
    "the key's name": lambda t: t.replace('"key":"', '"key":"0'),
    "cut short": lambda t: t[:-1],
    "no JSON": lambda t: "[" * 100_000,
    "a list": lambda t: f"[{t}]",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_report_is_not_believed(keys, tmp_path, name):
    """Whatever was changed."""
    with pytest.raises(ReportRejected):
        reports.verify(_signed(keys, tmp_path, CHANGES[name]), reports.public_key(f"{keys}.pub"))


def test_another_key_is_not_believed(keys, tmp_path):
    """A report somebody else signed, even one that names the right key, is rejected."""
    other = tmp_path / "other.key"
    reports.make_keys(str(other))
    names = [reports.fingerprint(reports.public_key(f"{path}.pub")) for path in (other, keys)]
    for change in (lambda t: t, lambda t: t.replace(*names)):
        with pytest.raises(ReportRejected):
            reports.verify(_signed(other, tmp_path, change), reports.public_key(f"{keys}.pub"))


def test_keys_are_kept_and_checked(keys, tmp_path):
    """No key is overwritten; one that others can read, a public one, and what is none do not sign."""
    text = keys.read_text()
    (tmp_path / "none").write_text("hush")
    keys.chmod(0o440)
    for call, path in (
        (reports.make_keys, keys), (reports.private_key, keys), (reports.private_key, tmp_path / "none"),
        (reports.private_key, tmp_path), (reports.private_key, tmp_path / "away"),
        (reports.make_keys, tmp_path / "a/b"),
    ):  # fmt: skip
        with pytest.raises(SigningKeyUnusable) as caught:
            call(str(path))
        assert "hush" not in str(caught.value)
    public = tmp_path / "public.key"
    public.write_text((tmp_path / "report.key.pub").read_text())
    public.chmod(0o400)
    with pytest.raises(SigningKeyUnusable, match="signs nothing"):
        reports.private_key(str(public))
    assert keys.read_text() == text
    (tmp_path / "half.pub").write_text("there before")
    with pytest.raises(SigningKeyUnusable, match="there already"):
        reports.make_keys(str(tmp_path / "half"))
    assert not (tmp_path / "half").exists()


def test_a_report_holds_no_fraction():
    """A float has no one form, so it is not signed."""
    with pytest.raises(TypeError):
        canonical.write({"a": [1, {"b": 0.5}]})
