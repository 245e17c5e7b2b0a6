import copy
import multiprocessing
import os
import pickle
import stat

import pytest

from esl_shield.errors.keys import KekExposed, KekMissing, KekUnusable
from esl_shield.vault.keys import Key, MemoryKek, create_kek, open_kek


@pytest.fixture
def kek_file(tmp_path):
    path = tmp_path / "kek"
    assert create_kek(f"file:{path}")
    return path


def test_create_and_open(kek_file):
    """A created KEK is 64 hex digits, readable by its owner only, and opens."""
    assert stat.S_IMODE(kek_file.stat().st_mode) == 0o400
    assert len(kek_file.read_text()) == 65
    assert open_kek(f"file:{kek_file}").raw.hex() == kek_file.read_text().strip()
    assert list(kek_file.parent.iterdir()) == [kek_file]


def test_create_never_overwrites(kek_file):
    """Creating where there is a KEK leaves it as it is and says so."""
    before = kek_file.read_text()
    assert not create_kek(f"file:{kek_file}")
    assert kek_file.read_text() == before


def test_create_never_overwrites_a_dangling_link(tmp_path):
    """A link that points nowhere is not followed to create a KEK elsewhere."""
    (tmp_path / "kek").symlink_to(tmp_path / "nowhere")
    assert not create_kek(f"file:{tmp_path / 'kek'}")
    assert not (tmp_path / "nowhere").exists()


def _create(path, results):
    results.put(create_kek(f"file:{path}"))


def test_create_by_many(tmp_path):
    """Of several processes that create the same KEK at once, one does."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_create, args=(tmp_path / "kek", results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=60) for _ in processes) == [False, False, False, True]
    for process in processes:
        process.join()
    results.close()
    results.join_thread()


def test_create_in_no_folder(tmp_path):
    """A KEK in a folder that is not there is one clear error."""
    with pytest.raises(KekUnusable, match="cannot be created"):
        create_kek(f"file:{tmp_path}/none/kek")


def test_missing(tmp_path):
    """A missing KEK says what to do."""
    with pytest.raises(KekMissing, match="keys init"):
        open_kek(f"file:{tmp_path}/kek")


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o420, 0o644, 0o600 | 0o010])
def test_exposed(kek_file, mode):
    """A KEK that group or others may read, write or run is refused."""
    kek_file.chmod(mode)
    with pytest.raises(KekExposed, match="chmod 0400"):
        open_kek(f"file:{kek_file}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_of_another_user(kek_file):
    """A KEK that belongs to another user is refused."""
    os.chown(kek_file, 12345, 12345)
    with pytest.raises(KekExposed, match="belongs to user 12345"):
        open_kek(f"file:{kek_file}")


@pytest.mark.parametrize(
    "content", ["", "ab" * 31, "ab" * 33, "zz" * 32, "ab" * 32 + "\nab", "\xff" * 64, "0x" + "ab" * 31]
)
def test_unusable(kek_file, content):
    """Anything but 64 hex digits is refused without being repeated."""
    kek_file.chmod(0o600)
    kek_file.write_text(content, encoding="latin-1")
    with pytest.raises(KekUnusable) as caught:
        open_kek(f"file:{kek_file}")
    assert not content or content[:10] not in str(caught.value).replace(str(kek_file), "")


def test_no_regular_file(tmp_path):
    """A folder or a FIFO in the KEK's place is refused at once."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(KekUnusable):
            open_kek(f"file:{path}")


def test_environment(monkeypatch):
    """A KEK for the demo can be in the environment."""
    monkeypatch.setenv("DEMO_KEK", "ab" * 32)
    assert open_kek("env:DEMO_KEK").raw == b"\xab" * 32
    monkeypatch.setenv("DEMO_KEK", "ab")
    with pytest.raises(KekUnusable):
        open_kek("env:DEMO_KEK")
    monkeypatch.delenv("DEMO_KEK")
    with pytest.raises(KekMissing):
        open_kek("env:DEMO_KEK")


@pytest.mark.parametrize("uri", ["", "file:", "/etc/kek", "http://kek", "env:"])
def test_unknown_place(uri):
    """A KEK that is in no known kind of place is refused."""
    with pytest.raises(KekUnusable):
        open_kek(uri)


def test_environment_is_not_created():
    """A KEK is created in files only."""
    with pytest.raises(KekUnusable):
        create_kek("env:DEMO_KEK")


def test_keys_show_nothing():
    """A key in memory shows nothing of itself, and the fingerprint is not the key."""
    kek = MemoryKek(b"\xab" * 32)
    for shown in (repr(kek), str(kek), f"{kek}", repr([kek]), repr(copy.deepcopy(kek))):
        assert shown.strip("[]") == "MemoryKek(hidden)"
    with pytest.raises(TypeError):
        pickle.dumps(kek)
    assert len(kek.id) == 16
    assert "abab" not in kek.id


def test_key_length():
    """A key has 32 bytes."""
    with pytest.raises(ValueError, match="32 bytes"):
        Key(bytes(16))


def test_new_keys_differ():
    """Two new keys are two keys."""
    assert Key.new() != Key.new()
