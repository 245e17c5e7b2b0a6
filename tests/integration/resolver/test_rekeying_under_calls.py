"""Keys rotated and rewrapped, rows re-encrypted, while a real resolver redeems permits without a pause."""

from __future__ import annotations

from rekeying import Calls, Job, move_rows
from resolver_process import NUMBERS

from esl_shield.vault import keylife
from esl_shield.vault.keks import Keks
from esl_shield.vault.keys import Kek

ROWS = 400


def test_no_call_fails_while_keys_change(start_resolver, database, vault, tmp_path, until):
    """Rotation, a job killed and run again, a rewrap and the older key's end: every call got its number."""
    for at in range(ROWS):
        vault.seed(f"+86139{at:08d}")
    new_kek = Kek.new()
    new_file = tmp_path / "kek-2"
    new_file.write_text(new_kek.raw.hex() + "\n")
    new_file.chmod(0o400)
    # The order of docs/keys.md: first every process has both KEKs.
    resolver = start_resolver(kek=new_file, previous=vault.kek_file)
    keks = Keks(new_kek, [vault.kek])
    job = Job(tmp_path, database.login("rekeyer"), f"file:{new_file}", 400)
    calls = Calls(resolver, vault)
    try:
        assert len(list(keylife.rewrap(vault.admin_login, keks))) == 2
        (key,) = keylife.newest_keys(vault.admin_login, "data", vault.tenant)
        keylife.rotate(vault.admin_login, keks, key)
        move_rows(job, calls, vault, ROWS, until)
        keylife.destroy(vault.admin_login, keylife.find_key(vault.admin_login, vault.tenant, "data", 1), "gone")
        calls.more(until)
    finally:
        calls.stop()
    assert calls.wrong == []
    assert calls.made > 15
    again = start_resolver(kek=new_file)
    assert again.edge(vault.permit()).body == NUMBERS["mobile"]
