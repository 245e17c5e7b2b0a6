"""FF1 against NIST's samples and an independent implementation, and the tokens made with it."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import ffx
import pytest

from esl_shield.errors.methods import PrefixRejected
from esl_shield.vault import ff1, tokens
from esl_shield.vault.ff1 import Ff1
from esl_shield.vault.keys import Key
from esl_shield.vault.numbers import SubscriberNumber
from esl_shield.vault.prefixes import Ff1Tokens, TokenPrefix

KEY = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94"
TEN, ELEVEN = bytes.fromhex("39383736353433323130"), bytes.fromhex("3737373770717273373737")
LETTERS = "0123456789abcdefghi"
# NIST, "FF1 samples": key bytes, radix, tweak, plaintext, ciphertext.
SAMPLES = {
    "sample 1": (16, 10, b"", "0123456789", "2433477484"),
    "sample 2": (16, 10, TEN, "0123456789", "6124200773"),
    "sample 3": (16, 36, ELEVEN, LETTERS, "a9tv40mll9kdu509eum"),
    "sample 4": (24, 10, b"", "0123456789", "2830668132"),
    "sample 5": (24, 10, TEN, "0123456789", "2496655549"),
    "sample 6": (24, 36, ELEVEN, LETTERS, "xbj3kv35jrawxv32ysr"),
    "sample 7": (32, 10, b"", "0123456789", "6657667009"),
    "sample 8": (32, 10, TEN, "0123456789", "1001623463"),
    "sample 9": (32, 36, ELEVEN, LETTERS, "xs8a0azh2avyalyzuwd"),
}
BANK = TokenPrefix("bank", "71", "ff1", 20, 1, ("CN",))
MOBILE, LANDLINE, FOREIGN = (
    SubscriberNumber(text) for text in ("+8613800138001", "+861083001001", "+61491570006")
)  # fmt: skip
DOCUMENTED = "71310647296383166765"


@pytest.mark.parametrize("fast", [False, True], ids=["pycryptodome", "cryptography"])
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_nists_samples(sample, fast):
    """Each of NIST's samples is encrypted and decrypted as printed, by both libraries."""
    size, radix, tweak, plain, secret = sample
    cipher = Ff1(bytes.fromhex(KEY)[:size], radix, fast=fast)
    assert cipher.encrypt(tweak, plain) == secret
    assert cipher.decrypt(tweak, secret) == plain


@pytest.mark.parametrize("fast", [False, True], ids=["pycryptodome", "cryptography"])
def test_an_independent_implementation_says_the_same(fast):
    """For keys, tweaks and lengths drawn anew each seed, another author's FF1 gives the same digits."""
    draw = random.Random(38)  # noqa: S311 - the same cases in every process
    for _ in range(60):
        key, tweak = draw.randbytes(draw.choice((16, 24, 32))), draw.randbytes(draw.randrange(40))
        text = "".join(draw.choices("0123456789", k=draw.randrange(6, 57)))
        secret = Ff1(key, fast=fast).encrypt(tweak, text)
        assert secret == ffx.FF1(key, radix=10).encrypt(text, tweak=tweak)
        assert Ff1(key, fast=fast).decrypt(tweak, secret) == text


@pytest.mark.parametrize(
    ("radix", "text"),
    [
        (10, "12345"), (10, ""), (10, "12345a"), (10, "\uff11\uff12\uff13\uff14\uff15\uff16\uff17"), (36, "abc"),
        (10, "1" * 65), (10, "123 456"), (10, "+123456"),
    ],
    ids=["small", "empty", "letter", "full width", "small base 36", "long", "space", "plus"],
)  # fmt: skip
def test_what_ff1_is_not_for_is_refused(radix, text):
    """A domain below a million texts and whatever is no digit of the radix are refused, without being repeated."""
    for work in (Ff1(Key.new().raw, radix).encrypt, Ff1(Key.new().raw, radix).decrypt):
        with pytest.raises(ValueError, match="FF1") as caught:
            work(b"", text)
        assert not text or text not in str(caught.value)


def test_the_least_domain_is_a_million():
    """Six digits are enough and no number of digits of a smaller domain is."""
    assert ff1.MIN_DOMAIN == 10**6
    assert len(Ff1(Key.new().raw).encrypt(b"", "000000")) == 6


def test_the_documented_token():
    """The vector of docs/methods.md, which others test their own programs with, is what we compute."""
    made = Ff1Tokens(Key(bytes(range(32))), BANK).token_of(MOBILE)
    body = ffx.FF1(bytes(range(32)), radix=10).encrypt("00000113800138001", tweak=b"bank|71")
    assert made == "71" + body + tokens.damm_digit("71" + body) == DOCUMENTED
    assert f"`{DOCUMENTED}`" in (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("length", [15, 16, 18, 20])
def test_a_token_is_its_numbers_alone(length):
    """A number's token is a valid token of the prefix and length and is decrypted to that number."""
    prefix = dataclasses.replace(BANK, length=length)
    prefix.check()
    codec = Ff1Tokens(Key.new(), prefix)
    token = codec.token_of(MOBILE)
    assert tokens.valid_for(token, "71", length)
    assert codec.number_of(token) == MOBILE


@pytest.mark.parametrize(
    "changed",
    [{"tenant": "shop"}, {"prefix": "72"}],
    ids=["another tenant", "another prefix"],
)
def test_the_tweak_binds_tenant_and_prefix(changed):
    """Under the same key another tenant's or prefix's token has other digits."""
    key = Key.new()
    one, other = (Ff1Tokens(key, prefix).token_of(MOBILE) for prefix in (BANK, dataclasses.replace(BANK, **changed)))
    assert one[2:-1] != other[2:-1]


def test_a_number_the_prefix_does_not_allow_has_no_token():
    """Another country, another line type and a number outside the ranges get none, and none is decrypted to them."""
    key = Key.new()
    open_ = Ff1Tokens(key, dataclasses.replace(BANK, line_types=("mobile", "fixed_line")))
    narrow = Ff1Tokens(key, dataclasses.replace(BANK, ranges=("86139",)))
    strict = Ff1Tokens(key, BANK)
    assert strict.token_of(FOREIGN) is strict.token_of(LANDLINE) is narrow.token_of(MOBILE) is None
    assert strict.number_of(open_.token_of(LANDLINE)) is None
    assert narrow.number_of(strict.token_of(MOBILE)) is None


@pytest.mark.parametrize("digits", ["+86013800138001", "+860013800138001"], ids=["trunk zero", "two"])
def test_a_number_that_is_read_as_another_is_not_allowed(digits):
    """Digits phonenumbers reads as some other number would pass by lists and rules, so no token stands for them."""
    assert not BANK.allows(SubscriberNumber(digits))


def test_a_guessed_token_stands_for_nobody():
    """Of tokens drawn at random with right check digits, none of ten thousand is anybody's."""
    codec = Ff1Tokens(Key.new(), BANK)
    assert [token for token in tokens.draw_many("71", 20, 10_000) if codec.number_of(token)] == []


@pytest.mark.parametrize(
    "token", ["", "71", DOCUMENTED[:-1] + "1", "72" + DOCUMENTED[2:], DOCUMENTED[:-2], DOCUMENTED + "0"],
    ids=["empty", "prefix", "check digit", "prefix of others", "short", "long"],
)  # fmt: skip
def test_what_is_no_token_of_the_prefix_is_nobodys(token):
    """Wrong length, prefix or check digit is answered before anything is decrypted."""
    assert Ff1Tokens(Key(bytes(range(32))), BANK).number_of(token) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix": ""}, {"prefix": "7a"}, {"prefix": "712345678"}, {"length": 7}, {"length": 21}, {"length": 14},
        {"countries": ()}, {"countries": ("XX",)}, {"countries": ("CN", "GB")}, {"line_types": ("pigeon",)},
        {"line_types": ()}, {"ranges": ("44",)}, {"ranges": ("86x",)}, {"ranges": ("",)},
    ],
    ids=[
        "no prefix", "letters", "long prefix", "short token", "long token", "no room", "no country", "unknown country",
        "two countries", "line type", "no line type", "foreign range", "no digits", "empty range",
    ],
)  # fmt: skip
def test_a_prefix_that_cannot_work_is_refused(changes):
    """What no token could be made or told by is refused with one sentence."""
    with pytest.raises(PrefixRejected):
        dataclasses.replace(BANK, **changes).check()


def test_nothing_shows_the_key():
    """Neither cipher nor codec shows or pickles what it holds."""
    for held in (Ff1(bytes(32)), Ff1Tokens(Key(bytes(32)), BANK)):
        assert repr(held) == f"{type(held).__name__}(hidden)"
        with pytest.raises(TypeError):
            held.__reduce_ex__(2)
