"""``pkcs11:`` URIs against RFC 7512: its examples, its grammar, and what a KEK takes of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_shield.config.pkcs11_uri import Place, Uri, read

CERTIFICATE = "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial="
OIL = "manufacturer=Snake%20Oil,%20Inc."
# RFC 7512, section 3, and what each says. (`|` pin sources and names of modules are read; a KEK takes neither.)
EXAMPLES = {
    "empty": ("pkcs11:", Uri()),
    "a public key": ("pkcs11:object=my-pubkey;type=public", Uri({"object": "my-pubkey", "type": "public"})),
    "PIN in a file": (
        "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
        Uri({"object": "my-key", "type": "private"}, {"pin-source": "file:/etc/token"}),
    ),
    "a certificate in a token": (
        f"pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;{OIL};model=1.0;{CERTIFICATE}?pin-source=file:/etc/token_pin",
        Uri(
            {
                "token": "The Software PKCS#11 Softtoken", "manufacturer": "Snake Oil, Inc.", "model": "1.0",
                "object": "my-certificate", "type": "cert", "serial": "",
            },
            {"pin-source": "file:/etc/token_pin"},
            b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91",
        ),
    ),
    "a module by name": (
        "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
        Uri({"object": "my-sign-key", "type": "private"}, {"module-name": "mypkcs11"}),
    ),
    "a module by path": (
        "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
        Uri({"object": "my-sign-key", "type": "private"}, {"module-path": "/mnt/libmypkcs11.so.1"}),
    ),
    "a token": (
        "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
        Uri({"token": "Software PKCS#11 softtoken", "manufacturer": "Snake Oil, Inc."}, {"pin-value": "the-pin"}),
    ),
    "a slot": (
        "pkcs11:slot-description=Sun%20Metaslot", Uri({"slot-description": "Sun Metaslot"}),
    ),
    "a library": (
        "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23",
        Uri(
            {
                "library-manufacturer": "Snake Oil, Inc.", "library-description": "Soft Token Library",
                "library-version": "1.23",
            }
        ),
    ),
    "semicolons and percent": (
        "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
        Uri(
            {"token": "My token% created by Joe", "library-version": "3"}, {},
            bytes.fromhex("010203baddcafe040506"),
        ),
    ),
    "a semicolon in a name": (
        "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
        Uri({"token": "A name with a substring %;", "object": "my-certificate", "type": "cert"}),
    ),
    "small accents": (
        "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
        Uri({"token": "Name with a small A with acute: á", "object": "my-certificate", "type": "cert"}),
    ),
    "a program for the PIN": (
        "pkcs11:token=t?pin-source=|/usr/lib/pinomatic",
        Uri({"token": "t"}, {"pin-source": "|/usr/lib/pinomatic"}),
    ),
}  # fmt: skip

SECRET = "4711-0815"
REFUSED = {
    "another scheme": ("pkcs12:token=a", "must begin"),
    "capitals": ("PKCS11:token=a", "must begin"),
    "vendor attribute, path": (f"pkcs11:token=a;vendor-aaa={SECRET}", "'vendor-aaa'"),
    "vendor attribute, query": (f"pkcs11:token=a?x-pin={SECRET}", "'x-pin'"),
    "a query's attribute in the path": (f"pkcs11:pin-value={SECRET}", "'pin-value'"),
    "a path's attribute in the query": ("pkcs11:object=k?token=a", "'token'"),
    "twice": ("pkcs11:token=a;token=b", "twice"),
    "twice, query": ("pkcs11:?module-path=/a&module-path=/b", "twice"),
    "nothing between": ("pkcs11:token=a;;object=b", "NAME=VALUE"),
    "nothing at the end": ("pkcs11:token=a;", "NAME=VALUE"),
    "no equals": (f"pkcs11:{SECRET}", "NAME=VALUE"),
    "no name": ("pkcs11:=a", "NAME=VALUE"),
    "an empty query": ("pkcs11:token=a?", "question mark"),
    "a space": ("pkcs11:token=a b", "%XX"),
    "a slash in the path": ("pkcs11:token=a/b", "%XX"),
    "an ampersand in the query": ("pkcs11:?module-path=/a&b", "NAME=VALUE"),
    "a fragment": ("pkcs11:token=a#b", "%XX"),
    "half a percent": ("pkcs11:token=a%4", "%XX"),
    "no hexadecimal": ("pkcs11:token=%zz", "%XX"),
    "not ASCII": ("pkcs11:token=á", "%XX"),
    "not UTF-8": ("pkcs11:token=%ff", "UTF-8"),
    "a NUL": ("pkcs11:token=a%00b", "control characters"),
    "a line end": ("pkcs11:?module-path=/a%0A", "control characters"),
    "type": ("pkcs11:type=secretkey", "type"),
    "slot-id": ("pkcs11:slot-id=0x1", "slot-id"),
    "library-version": ("pkcs11:library-version=1.2.3", "library-version"),
    "two PINs": (f"pkcs11:?pin-source=file:/a&pin-value={SECRET}", "both"),
}

GOOD = "pkcs11:token=esl;object=kek;type=secret-key?module-path=/usr/lib/p11.so&pin-source=file:/etc/pin"
NO_PLACE = {
    "a PIN in the URI": (GOOD.replace("pin-source=file:/etc/pin", f"pin-value={SECRET}"), "never written"),
    "no PIN": (GOOD.partition("&")[0], "pin-source"),
    "a program": (GOOD.replace("file:/etc/pin", "%7C/bin/pin"), "pin-source"),
    "a relative PIN file": (GOOD.replace("file:/etc/pin", "file:pin"), "absolute"),
    "a PIN from another machine": (GOOD.replace("file:/etc/pin", "file://host/etc/pin"), "absolute"),
    "a PIN from the web": (GOOD.replace("file:/etc/pin", "https://host/pin"), "pin-source"),
    "no module": (GOOD.replace("module-path=/usr/lib/p11.so&", ""), "module-path"),
    "a relative module": (GOOD.replace("/usr/lib/p11.so", "p11.so"), "absolute"),
    "a module by name": (GOOD.replace("module-path=/usr/lib/p11.so", "module-name=p11"), "module-name"),
    "a private key": (GOOD.replace("secret-key", "private"), "secret-key"),
    "a long label": (GOOD.replace("token=esl", f"token={'a' * 33}"), "32 bytes"),
    "a long serial": (GOOD.replace("token=esl", f"serial={'%C3%A1' * 9}"), "16 bytes"),
    "any token": (GOOD.replace("token=esl;", ""), "token="),
    "a token without a name": (GOOD.replace("token=esl", "token="), "token="),
    "any key": (GOOD.replace("object=kek;", ""), "object="),
    "a key without a name": (GOOD.replace("object=kek", "object=;id=%01"), "empty"),
    "a key with an empty id": (GOOD.replace("object=kek", "object=kek;id="), "empty"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_rfcs_examples(name):
    """Every URI of section 3 says what the RFC says it does, and the same when written by us."""
    text, said = EXAMPLES[name]
    assert read(text) == said
    assert read(str(said)) == said


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_uri_is_refused(name):
    """Each thing the grammar forbids is one sentence that repeats no value."""
    text, words = REFUSED[name]
    with pytest.raises(ValueError, match="pkcs11: URI") as caught:
        read(text)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_where_a_kek_is():
    """Module, PIN file, token and key; the forms RFC 8089 gives a file: URI are one."""
    place = Place("/usr/lib/p11.so", "/etc/pin", {"token": "esl"}, "kek", None)
    assert Place.of(GOOD) == place
    assert Place.of(GOOD.replace("file:/", "file:///")) == place
    assert Place.of(GOOD.replace(";type=secret-key", "")) == place
    by_id = Place.of(GOOD.replace("object=kek", "serial=77;slot-id=3;id=%00%ff"))
    assert (by_id.label, by_id.key_id, by_id.token) == (
        None,
        b"\0\xff",
        {"token": "esl", "serial": "77", "slot-id": "3"},
    )


@pytest.mark.parametrize("name", NO_PLACE)
def test_where_no_kek_can_be(name):
    """What the RFC allows and a KEK does not take, PINs in the URI above all."""
    text, words = NO_PLACE[name]
    with pytest.raises(ValueError, match="pkcs11: URI") as caught:
        Place.of(text)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


TEXT = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), max_size=4)


@given(
    path=st.dictionaries(st.sampled_from(["token", "manufacturer", "serial", "model", "object"]), TEXT),
    query=st.dictionaries(st.sampled_from(["pin-source", "module-path", "module-name"]), TEXT),
    key_id=st.none() | st.binary(max_size=40),
)
def test_what_is_written_is_read_back(path, query, key_id):
    """Any text, whatever must be escaped in it, and any bytes of an id survive."""
    uri = Uri(path, query, key_id)
    assert read(str(uri)) == uri


@given(st.text(max_size=60).map(lambda text: "pkcs11:" + text))
def test_anything_is_read_or_refused(text):
    """No text ends in anything but a URI or one error."""
    try:
        uri = read(text)
    except ValueError:
        return
    assert read(str(uri)) == uri
