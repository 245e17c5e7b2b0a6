"""The one reader of private files, and that there is no second."""

import ast
import os
from pathlib import Path

import pytest

import esl_shield
from esl_shield.config.private_file import PrivateFileRefusedError, Refusal, read, read_line
from esl_shield.errors.config import ConfigError

SECRET = b"not to be told\n"


def _file(folder, mode=0o400, content=SECRET):
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def _anothers(folder):
    path = _file(folder)
    os.chown(path, 12345, 12345)
    return path


def _fifo(folder):
    os.mkfifo(folder / "fifo", 0o600)
    return folder / "fifo"


def _loop(folder):
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


REFUSED = {
    "missing": (lambda folder: folder / "none", Refusal.MISSING),
    "below a file": (lambda folder: _file(folder) / "none", Refusal.MISSING),
    "a loop of links": (_loop, Refusal.UNREADABLE),
    "a NUL in its name": (lambda folder: f"{folder}/\0", Refusal.UNREADABLE),
    "a folder": (lambda folder: folder, Refusal.IRREGULAR),
    "a FIFO": (_fifo, Refusal.IRREGULAR),
    "the group reads it": (lambda folder: _file(folder, 0o440), Refusal.EXPOSED),
    "others read it": (lambda folder: _file(folder, 0o404), Refusal.EXPOSED),
    "the group writes it": (lambda folder: _file(folder, 0o420), Refusal.EXPOSED),
    "another user's": (_anothers, Refusal.ANOTHERS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_private_is_not_read(name, tmp_path):
    """Each way a file can be open to others, or no file at all, is refused without a byte of it."""
    if name == "another user's" and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    make, refusal = REFUSED[name]
    path = str(make(tmp_path))
    with pytest.raises(PrivateFileRefusedError) as caught:
        read(path, 100)
    assert caught.value.refusal is refusal
    with pytest.raises(ConfigError, match=r"\[section\] key") as told:
        read_line(f"file:{path}", 100, key="[section] key")
    assert path in str(told.value)
    assert told.value.__context__ is None
    assert "not to be told" not in f"{caught.value!r} {told.value}"


def test_a_private_file_is_read_and_no_more_than_asked_for(tmp_path):
    """The content as it is, one byte more than its bound, or its line."""
    path = _file(tmp_path)
    assert read(str(path), 100) == SECRET
    assert read(str(path), 3) == SECRET[:4]
    assert read_line(f"file:{path}", 100, key="") == SECRET[:-1]


def test_no_second_reader_of_private_files():
    """Only one module opens descriptors to judge modes and owners."""
    package = Path(esl_shield.__file__).parent
    judges = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("O_NONBLOCK", "fstat")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert "config/private_file.py" in judges
    assert not {path for path in judges if path.startswith(("db/", "resolver/", "vault/keys/"))}


@pytest.mark.parametrize("mode", [0o400, 0o444])
def test_what_is_public_may_be_open(mode, tmp_path):
    """A public key's file is read whoever else can, but a folder or a FIFO in its place is not."""
    assert read(str(_file(tmp_path, mode)), 100, public=True) == SECRET
    for path in (_fifo(tmp_path), tmp_path):
        with pytest.raises(PrivateFileRefusedError):
            read(str(path), 100, public=True)
