"""The configuration file: every key known, every value checked before anything is opened."""

from __future__ import annotations

import pytest

from esl_shield import config
from esl_shield.errors import ConfigError

DATABASE = '[database]\nurl = "postgresql+psycopg2://worker@/shield"\n'
FULL = (
    DATABASE
    + """
[keys]
kek = "file:/etc/esl-shield/kek"
[esl]
listen = "[::1]:8084"
allow = ["127.0.0.1", "10.0.0.0/8"]
handoff_timeout_s = 1
[handoff]
dummy_number = "9000"
[resolver]
secrets = { edge = "file:/e", lua = "file:/l" }
[destinations]
countries = ["CN", "GB"]
[[gateways]]
name = "carrier"
delivery = "direct"
proxy = "127.0.0.1:5080"
number_format = "national"
prefix = "9"
caller_id = ["+862100000000"]
[[gateways]]
name = "edge-1"
delivery = "edge"
domains = ["bank.example"]
"""
)


def test_a_full_file_becomes_frozen_dataclasses():
    """Every section and list arrives with its type; what is absent has its default."""
    loaded = config.loads(FULL)
    assert loaded.esl.listen == config.Address("::1", 8084)
    assert loaded.esl.handoff_timeout_s == 1.0
    assert loaded.gateways[0].caller_id == ("+862100000000",)
    assert loaded.gateways[1].domains == ("bank.example",)
    assert loaded.keys is not None
    assert loaded.calls == config.CallsConfig()
    with pytest.raises(AttributeError):
        loaded.esl.max_calls = 1  # type: ignore[misc]


GATEWAY = '[[gateways]]\nname = "g"\ndelivery = "direct"\nproxy = "127.0.0.1:5080"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "database is missing"),
        ("[database]\n", "database.url is missing"),
        ("[database", "Expected"),
        (DATABASE + "[esl]\nlissten = 1\n", "unknown key esl.lissten"),
        (DATABASE + "[surprise]\n", "unknown key surprise"),
        ('[database]\nurl = "postgresql://x"\n', "postgresql+psycopg2://"),
        ("[database]\nurl = 7\n", "database.url must be text"),
        (DATABASE + "pool_size = 0\n", "pool_size must be more than 0"),
        (DATABASE + "pool_size = true\n", "whole number"),
        (DATABASE + '[esl]\nlisten = "0.0.0.0:8084"\n', "name FreeSWITCH's addresses in allow"),
        (DATABASE + '[esl]\nlisten = "localhost:8084"\n', "localhost"),
        (DATABASE + '[esl]\nlisten = "127.0.0.1:99999"\n', "ADDRESS:PORT"),
        (DATABASE + '[esl]\nallow = ["everybody"]\n', "everybody"),
        (DATABASE + '[esl]\nallow = "127.0.0.1"\n', "must be a list"),
        (DATABASE + '[resolver]\nlisten = "0.0.0.0:8090"\n', "name its callers in allow"),
        (DATABASE + '[resolver]\nsecrets = { lua = "hunter2" }\n', "file:PATH"),
        (DATABASE + '[resolver]\nsecrets = { phone = "file:/x" }\n', "edge and lua"),
        (DATABASE + '[keys]\nkek = "0123"\n', "file:PATH"),
        (DATABASE + '[handoff]\ndummy_number = "+1"\n', "digits"),
        (DATABASE + '[destinations]\ncountries = ["China"]\n', "ISO 3166"),
        (DATABASE + GATEWAY.replace("direct", "magic"), "'edge' or 'direct'"),
        (DATABASE + GATEWAY.replace('"127.0.0.1:5080"', '""'), "proxy"),
        (DATABASE + GATEWAY.replace('"g"', '"a,b"'), "letters, digits"),
        (DATABASE + GATEWAY + 'prefix = "0;x"\n', "prefix must be digits"),
        (DATABASE + GATEWAY + 'caller_id = ["me"]\n', "caller_id"),
        (DATABASE + GATEWAY + GATEWAY, "same name"),
    ],
)
def test_what_cannot_be_used_is_one_clear_sentence(text: str, says: str):
    """A bad file is refused with the place and the mend, and with the error's id."""
    with pytest.raises(ConfigError) as caught:
        config.loads(text, source="shield.toml")
    message = str(caught.value)
    assert says in message
    assert "shield.toml" in message
    assert message.endswith("[config.invalid]")
    assert caught.value.exit_code == 2


def test_no_file_named_says_how_to_name_one(monkeypatch):
    """Without --config and without the variable the error names both."""
    monkeypatch.delenv(config.CONFIG_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match="--config FILE or set ESL_SHIELD_CONFIG"):
        config.load()


def test_the_variable_names_the_file(monkeypatch, tmp_path):
    """ESL_SHIELD_CONFIG is used when no file is given."""
    path = tmp_path / "worker.toml"
    path.write_text(DATABASE)
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(path))
    assert config.load().database.url.endswith("/shield")


def test_a_missing_file_is_a_config_error(tmp_path):
    """A file that is not there is named in the error."""
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        config.load(tmp_path / "absent.toml")
