import base64
import gzip
import os
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esl_shield.audit import known

NUMBER = "+8613800138001"
NATIONAL = "13800138001"
TOKEN = "77123456789019"
NEEDLES = known.forms(NUMBER, TOKEN)


def _xor(text, token=TOKEN):
    return bytes(ord(a) ^ ord(token[at % len(token)]) for at, a in enumerate(text))


@pytest.mark.parametrize(
    "data",
    [
        b"+8613800138001",
        b"8613800138001",
        b"008613800138001",
        b"013800138001",
        b"13800138001",
        b"sip:13800138001@10.0.0.1",
        b"+86 138 0013 8001",
        b"138-0013-8001",
        b"138.0013.8001",
        b"(138) 0013-8001",
        b"138-001-38001",
        b"1380-013-8001",
        "138\u00a00013\u00a08001".encode(),
        b"138%200013%208001",
        b"138+0013+8001",
        "１３８００１３８００１".encode(),
        "１３８００１３８００１".encode("utf-16"),
        "x13800138001x".encode("utf-16-le"),
        "x13800138001x".encode("utf-16-be"),
        "x13800138001x".encode("utf-32"),
        NUMBER.encode().hex().encode(),
        NUMBER.encode().hex(" ").encode(),
        b"%31%33%38%30%30%31%33%38%30%30%31",
        b"\\x31\\x33\\x38\\x30\\x30\\x31\\x33\\x38\\x30\\x30\\x31",
        b"\\u0031\\u0033\\u0038\\u0030\\u0030\\u0031\\u0033\\u0038\\u0030\\u0030\\u0031",
        b"&#49;&#51;&#56;&#48;&#48;&#49;&#51;&#56;&#48;&#48;&#49;",
        b"10083100831",
        int(NATIONAL).to_bytes(8, "big"),
        int(NUMBER[1:]).to_bytes(8, "little"),
        urllib.parse.quote(NUMBER).encode(),
        _xor(NUMBER),
        _xor(NATIONAL),
        _xor(NUMBER[1:]),
        _xor("0" + NATIONAL),
        base64.b64encode(_xor(NUMBER)),
        base64.urlsafe_b64encode(_xor(NATIONAL)),
        _xor(NATIONAL).hex().encode(),
        _xor(NATIONAL).hex().upper().encode(),
        str(int(NATIONAL) ^ int(TOKEN)).encode(),
        base64.b64encode(b"agent dials " + base64.b64encode(b"x") + NATIONAL.encode()),
    ],
)
def test_forms(data):
    """Each form a number can take is found, alone and in the middle of other bytes."""
    assert known.scan_bytes(data, NEEDLES)
    assert known.scan_bytes(b"\xff" * 100 + data + b"\xff" * 100, NEEDLES)
    assert known.scan_bytes(b"\0" * 5000 + data + b"\0" * 5000, NEEDLES)


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
def test_base64_anywhere(before, after, encode):
    """A number anywhere inside a longer base64 text is found at whichever alignment it has."""
    assert known.scan_bytes(encode(before + NATIONAL.encode() + after), NEEDLES)
    assert known.scan_bytes(encode(before + _xor(NUMBER) + after), NEEDLES)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_base32_anywhere(before, after):
    """A number anywhere inside a longer base32 text is found, in upper and lower case."""
    encoded = base64.b32encode(before + NATIONAL.encode() + after)
    assert known.scan_bytes(encoded, NEEDLES)
    assert known.scan_bytes(encoded.lower(), NEEDLES)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("+442079460018", "020 7946 0018"),
        ("+442079460018", "+44 20 7946 0018"),
        ("+12025550101", "(202) 555-0101"),
        ("+12025550101", "202.555.0101"),
        ("+12025550101", "1-202-555-0101"),
        ("+61491570006", "0491 570 006"),
        ("+61491570006", "+61 491 570 006"),
    ],
)
def test_other_countries(number, text):
    """Other countries' numbers are found as they are written there."""
    assert known.scan_bytes(text.encode(), known.encodings(number))


@pytest.mark.parametrize("data", [b"", b"13800138002", TOKEN.encode(), b"1380013800", b"\0" * 9999, b"3800138001"])
def test_nothing_there(data):
    """Other numbers, the token and shorter digits are no finding."""
    assert known.scan_bytes(data, NEEDLES) == []


@settings(max_examples=30)
@given(st.binary(max_size=3000))
def test_random_bytes(data):
    """Random bytes are no finding."""
    assert known.scan_bytes(data, NEEDLES) == []


def test_encodings_are_the_forms():
    """The plain set of needles finds what the named forms find, with a token and without."""
    assert known.encodings(NUMBER, TOKEN) == set(NEEDLES)
    assert known.encodings(NUMBER) < known.encodings(NUMBER, TOKEN)
    assert known.scan_bytes(b"13800138001", known.encodings(NUMBER))[0].form == "a number"


def test_many_needles_agree_with_few():
    """The search for many needles finds the same as the search for each."""
    many = {}
    for at in range(300):
        many |= known.forms(f"+861390000{at:04d}")
    few = [f"+861390000{at:04d}".encode() for at in (3, 77, 299)]
    data = b"\0" * 300 + b"\0".join([*few, os.urandom(3000), *few]) + b"\0" * 300 + few[0]
    found = {finding.offset for finding in known.scan_bytes(data, many) if finding.form == "digits"}
    plain = {at for needle in few for part in (needle[1:], needle[3:]) for at in _offsets(data, part)}
    assert found == plain


def _offsets(data, part):
    return [at for at in range(len(data)) if data.startswith(part, at)]


def test_finding_shows_no_number(tmp_path):
    """A finding names file, offset and form, not the number."""
    (tmp_path / "log").write_bytes(b"abc 13800138001")
    finding = known.scan_tree(tmp_path, NEEDLES)[0]
    assert (finding.path, finding.offset, finding.form) == (str(tmp_path / "log"), 4, "digits")
    assert "138001" not in repr(finding)


@pytest.mark.parametrize("shift", range(-14, 3))
def test_across_pieces(tmp_path, shift):
    """A number that lies across two pieces of a file is found once, at its offset."""
    at = known.PIECE_BYTES + shift
    (tmp_path / "big").write_bytes(b"\xff" * at + b"13800138001" + b"\xff" * 100)
    assert [f.offset for f in known.scan_tree(tmp_path, known.encodings(NUMBER))] == [at]


def test_short_reads(tmp_path):
    """A file of a few bytes, or none, is searched."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "exact").write_bytes(b"13800138001")
    assert len(known.scan_tree(tmp_path, NEEDLES)) == 1


def test_names_and_links(tmp_path):
    """A number in the name of a file or folder, or in the target of a link, is found."""
    (tmp_path / "13800138001").mkdir()
    (tmp_path / "13800138001" / "rec-13800138001.wav").write_bytes(b"")
    (tmp_path / "link").symlink_to("/nowhere/+8613800138001")
    places = {finding.path for finding in known.scan_tree(tmp_path, NEEDLES)}
    assert places == {
        str(tmp_path / "13800138001"),
        str(tmp_path / "13800138001" / "rec-13800138001.wav"),
        str(tmp_path / "link"),
    }


def test_gzip(tmp_path):
    """A gzip file is searched unpacked; a damaged one as far as it goes."""
    packed = gzip.compress(b"a line of a log\n" * 500 + b"13800138001" + os.urandom(10_000))
    (tmp_path / "log.1.gz").write_bytes(packed)
    (tmp_path / "cut.gz").write_bytes(packed[:-100])
    assert len(known.scan_tree(tmp_path, NEEDLES)) == 2


def test_what_is_no_file(tmp_path):
    """FIFOs are passed over without being opened, a link to a folder is not followed."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert known.scan_tree(tmp_path, NEEDLES) == []


def test_one_file(tmp_path):
    """A single file can be searched too."""
    (tmp_path / "log").write_bytes(b"13800138001")
    assert known.scan_tree(tmp_path / "log", NEEDLES)


def test_unreadable():
    """A file that cannot be read is an error: the search would prove nothing."""
    with pytest.raises(OSError, match="Input/output"):
        known.scan_tree("/proc/self/mem", NEEDLES)


@pytest.mark.parametrize("needles", [set(), {b""}, {b"123", b""}])
def test_no_needles(needles):
    """A search for nothing is an error, never an empty result."""
    with pytest.raises(ValueError, match="needles"):
        known.scan_bytes(b"x", needles)


@pytest.mark.parametrize("number", ["", "+", "1234", "+86138x", "13800 138001"])
def test_no_number(number):
    """What is no number cannot be searched for."""
    with pytest.raises(ValueError, match="digits"):
        known.encodings(number)
