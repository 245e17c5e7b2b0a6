"""The configuration file: every key known, every value checked before anything is opened."""

from __future__ import annotations

import dataclasses
import json
import re
import traceback
from pathlib import Path

import pytest

from esl_shield import config
from esl_shield.config import serve
from esl_shield.config.canary import CanaryConfig
from esl_shield.config.crm import CrmConfig
from esl_shield.config.endings import MintingConfig, SwitchConfig
from esl_shield.config.resolver import DeviceConfig
from esl_shield.config.values import Address
from esl_shield.db import address
from esl_shield.db.schema import LOGIN_ROLES
from esl_shield.errors.config import ConfigError, ConfigExposed

DATABASE = '[database]\nurl = "postgresql+psycopg2://worker@/shield"\n'
SEALING = '[sealing]\nkey = "file:/k"\nheads = "/h"\n'
FULL = (
    DATABASE
    + """
[keys]
kek = "file:/etc/esl-shield/kek"
[esl]
listen = "[::1]:8084"
allow = ["127.0.0.1", "10.0.0.0/8"]
command_timeout_s = 1
[handoff]
dummy_number = "9000"
[freeswitch]
address = "127.0.0.1:8021"
password = "file:/f"
workers = ["127.0.0.1:8084", "[::1]:8085"]
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


SAMPLES = Path(__file__).parents[2] / "docs" / "samples"
SECTIONS = {
    "[inbound]": config.InboundConfig,
    "[policy]": config.PolicyConfig,
    "[database]": config.DatabaseConfig,
    "[keys]": config.KeysConfig,
    "[keys.device]": DeviceConfig,
    "[esl]": config.EslConfig,
    "[handoff]": config.HandoffConfig,
    "[calls]": config.CallsConfig,
    "[metrics]": config.MetricsConfig,
    "[freeswitch]": config.FreeSwitchConfig,
    "[canary]": CanaryConfig,
    "[resolver]": config.ResolverConfig,
    "[reveals]": config.RevealsConfig,
    "[erasure]": config.ErasureConfig,
    "[retention]": config.RetentionConfig,
    "[destinations]": config.DestinationsConfig,
    "[backup]": config.BackupConfig,
    "[[gateways]]": config.Gateway,
    "[sealing]": config.SealingConfig,
    "[journal]": config.JournalConfig,
    "[serve]": serve.ServeConfig,
    "[[serve.process]]": serve.ProcessConfig,
    "[intake]": config.IntakeConfig,
    "[reaper]": config.ReaperConfig,
    "[[reaper.switches]]": SwitchConfig,
    "[webhooks]": config.WebhooksConfig,
    "[[crm]]": CrmConfig,
    "[api]": config.ApiConfig,
    "[tokeniser]": config.TokeniserConfig,
    "[oauth]": config.OAuthConfig,
    "[reaper.minting]": MintingConfig,
    "[clicks]": config.ClicksConfig,
}


def written(spec: dataclasses.Field[object]) -> str:
    """A default as the reference writes it."""
    default = spec.default_factory() if spec.default_factory is not dataclasses.MISSING else spec.default
    if default is dataclasses.MISSING:
        return "required"
    if default is None:
        return "none"
    value = str(default) if isinstance(default, Address) else default
    return f"`{json.dumps(value)}`"


KEYS = {
    f"{name} {spec.name}": written(spec)
    for name, cls in SECTIONS.items()
    for spec in dataclasses.fields(cls)
    if spec.default_factory not in SECTIONS.values()  # a table of its own
}


def test_a_full_file_becomes_frozen_dataclasses():
    """Every section and list arrives with its type; what is absent has its default."""
    loaded = config.loads(FULL)
    assert loaded.esl.listen == Address("::1", 8084)
    assert loaded.esl.command_timeout_s == 1.0
    assert loaded.gateways[0].caller_id == ("+862100000000",)
    assert loaded.gateways[1].domains == ("bank.example",)
    assert loaded.keys is not None
    assert loaded.freeswitch is not None
    assert loaded.freeswitch.workers == (Address("127.0.0.1", 8084), Address("::1", 8085))
    assert loaded.calls == config.CallsConfig()
    with pytest.raises(AttributeError):
        loaded.esl.max_calls = 1  # type: ignore[misc]


CANARY = (
    '[canary]\ntenant = "t"\ndomain = "d.example"\nagent = "1099"\npassword = "file:/p"\n'
    'switch = "192.0.2.20:5060"\ndatabase = { url = "postgresql+psycopg2://c@/shield" }\n'
)
OAUTH = '[oauth]\nissuer = "i"\naudience = "a"\njwks = "file:/j"\n'
GATEWAY = '[[gateways]]\nname = "g"\ndelivery = "direct"\nproxy = "127.0.0.1:5080"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "database is missing"),
        (DATABASE + '[freeswitch]\naddress = "127.0.0.1:8021"\n', "freeswitch.password is missing"),
        (DATABASE + '[freeswitch]\naddress = "switch:8021"\npassword = "file:/f"\n', "IP address and a port"),
        (DATABASE + '[freeswitch]\naddress = "127.0.0.1:8021"\npassword = "hush-hush"\n', "password must be file:PATH"),
        (DATABASE + '[freeswitch]\naddress = "127.0.0.1:8021"\npassword = "file:/f"\ncalls = 0\n', "more than 0"),
        (DATABASE + '[api]\nlisten = "0.0.0.0:8092"\n', "[api] listen = 0.0.0.0:8092 is reachable from outside"),
        (DATABASE + '[tokeniser]\nallow = ["crm"]\n', "[tokeniser] allow: 'crm' is not an IP address"),
        (DATABASE + "[api]\nburst = 0\n", "[api] burst must be more than 0"),
        (DATABASE + "[api]\ntokeniser_timeout_s = 0\n", "[api] tokeniser_timeout_s must be more than 0"),
        (DATABASE + '[oauth]\nissuer = "i"\naudience = "a"\njwks = "ftp://x"\n', "[oauth] jwks must be file:"),
        (DATABASE + OAUTH + 'algorithms = ["HS256"]\n', "[oauth] algorithms must be some of RS256"),
        (DATABASE + OAUTH + "algorithms = []\n", "[oauth] algorithms must be some of RS256"),
        (DATABASE + OAUTH + 'tenant_claim = "a b"\n', "[oauth] tenant_claim must be the name of a claim"),
        (DATABASE + OAUTH.replace('"i"', '""'), "[oauth] issuer and audience must not be empty"),
        (DATABASE + OAUTH + "leeway_s = 0\n", "[oauth] leeway_s must be more than 0"),
        (DATABASE + "[intake]\n", "intake.secret is missing"),
        (DATABASE + '[intake]\nsecret = "hush-hush"\n', "secret must be file:PATH"),
        (DATABASE + '[intake]\nsecret = "file:/s"\nuser = "a:b"\n', "user must be 1 to 64"),
        (DATABASE + '[intake]\nsecret = "file:/s"\nlisten = "0.0.0.0:8091"\n', "reachable from outside"),
        (DATABASE + '[intake]\nsecret = "file:/s"\nallow = ["switch"]\n', "IP address or network"),
        (DATABASE + '[intake]\nsecret = "file:/s"\nspool = ["spool"]\n', "path is absolute"),
        (DATABASE + '[intake]\nsecret = "file:/s"\nspool_every_s = 0\n', "more than 0"),
        (DATABASE + "[reaper]\n", "needs a [[reaper.switches"),
        (DATABASE + '[[reaper.switches]]\naddress = "127.0.0.1:8021"\npassword = "hush-hush"\n', "must be file:PATH"),
        (DATABASE + '[webhooks]\nsecret = "hush-hush"\n', "secret must be file:PATH"),
        (DATABASE + '[webhooks]\nsecret = "file:/s"\nat_once = 257\n', "at_once is 256 at most"),
        (DATABASE + '[webhooks]\nsecret = "file:/s"\nat_once_each = 65\n', "no more than at_once"),
        (DATABASE + '[webhooks]\nsecret = "file:/s"\ngive_up_h = 0\n', "more than 0"),
        (DATABASE + CANARY.replace("agent", "agents"), "unknown key canary.agents"),
        (DATABASE + CANARY.replace("1099", "a b"), "a user of FreeSWITCH's directory"),
        (DATABASE + CANARY.replace("file:/p", "hush"), "[canary] password must be file:PATH"),
        (DATABASE + CANARY + 'signing_key = "/k"\n', "[canary] signing_key must be file:PATH"),
        (DATABASE + CANARY + 'region = "gb"\n', "not an ISO 3166 code"),
        (DATABASE + CANARY + "talk_s = 0\n", "[canary] talk_s must be more than 0"),
        (DATABASE + CANARY.replace("192.0.2.20", "switch"), "IP address and a port"),
        ("[database]\n", "database.url is missing"),
        ("[database", "Expected"),
        (DATABASE + "[esl]\nlissten = 1\n", "unknown key esl.lissten"),
        (DATABASE + "[surprise]\n", "unknown key surprise"),
        ('[database]\nurl = "postgresql://x"\n', "postgresql+psycopg2://"),
        ("[database]\nurl = 7\n", "database.url must be text"),
        (DATABASE + "pool_size = 0\n", "[database] pool_size must be more than 0"),
        (DATABASE + "connect_timeout_s = inf\n", "[database] connect_timeout_s"),
        (DATABASE + 'password = "hunter2"\n', "[database] password must be file:PATH"),
        (DATABASE.replace("r@", "r:x@") + 'password = "file:/p"\n', "keep one"),
        (DATABASE + "[esl]\nhandoff_timeout_s = 1\n", "unknown key esl.handoff_timeout_s"),
        ("source = 'x'\n" + DATABASE, "unknown key source"),
        (DATABASE + "pool_size = true\n", "whole number"),
        (DATABASE + '[esl]\nlisten = "0.0.0.0:8084"\n', "name FreeSWITCH's addresses in allow"),
        (DATABASE + '[esl]\nlisten = "localhost:8084"\n', "esl.listen = 'localhost:8084' must be an IP address"),
        (DATABASE + '[metrics]\nlisten = "9090"\n', "metrics.listen = '9090' must be"),
        (DATABASE + '[resolver]\nallow = ["10.0.0.1/8"]\n', "[resolver] allow: '10.0.0.1/8' is not"),
        (DATABASE + '[esl]\nlisten = "127.0.0.1:99999"\n', "esl.listen"),
        (DATABASE + '[esl]\nallow = ["everybody"]\n', "everybody"),
        (DATABASE + '[esl]\nallow = "127.0.0.1"\n', "must be a list"),
        (DATABASE + '[resolver]\nlisten = "0.0.0.0:8090"\n', "name its callers in allow"),
        (DATABASE + '[resolver]\nsecrets = { lua = "hunter2" }\n', "file:PATH"),
        (DATABASE + '[resolver]\nsecrets = { phone = "file:/x" }\n', "edge, lua, mask and reveals"),
        (DATABASE + '[keys]\nkek = "0123"\n', "file:PATH"),
        (DATABASE + '[keys]\nkek = "pkcs11:token=a;object=b?pin-value=1234"\n', "[keys] kek: the pkcs11: URI"),
        (DATABASE + '[keys]\nkek = "file:/k"\nprevious = ["0123"]\n', "[keys] previous takes earlier KEKs"),
        (DATABASE + '[keys]\nkek = "file:/k"\nprevious = ["file:/k"]\n', "[keys] previous takes earlier KEKs"),
        (
            DATABASE + '[keys]\nkek = "file:/k"\nprevious = ["pkcs11:token=a;object=b?pin-value=1234"]\n',
            "[keys] previous: the pkcs11: URI",
        ),
        (DATABASE + '[keys]\nkek = "file:/k"\n[keys.device]\nsessions = 65\n', "[keys.device] sessions"),
        (DATABASE + '[keys]\nkek = "file:/k"\n[keys.device]\ntimeout_s = 0\n', "[keys.device] timeout_s"),
        (DATABASE + '[reveals]\nresolver = "192.0.2.1:8090"\n', "[reveals] resolver must be a loopback address"),
        (DATABASE + '[erasure]\nkey = "hunter2"\n', "[erasure] key must be file:PATH"),
        (DATABASE + '[reveals]\nsecret = "hunter2"\n', "[reveals] secret must be file:PATH"),
        (DATABASE + '[sealing]\nkey = "file:/k"\n', "sealing.heads is missing"),
        (DATABASE + '[sealing]\nkey = "hunter2"\nheads = "/h"\n', "[sealing] key must be file:PATH"),
        (DATABASE + '[sealing]\nkey = "file:/k"\nheads = "h"\n', "[sealing] heads must be an absolute path"),
        (DATABASE + SEALING + 'older_keys = ["xyz"]\n', "a public key is 64 hex digits"),
        (DATABASE + SEALING + "every_s = 0\n", "[sealing] every_s must be more than 0"),
        (DATABASE + SEALING + "most_events = 1000000\n", "most_events must be at most 100000"),
        (DATABASE + SEALING + 'heads_url = "ftp://x/"\n', "must be an http:// or https:// address"),
        (
            DATABASE + SEALING + 'heads_url = "http://192.0.2.1/"\nheads_secret = "file:/s"\n',
            "must be given and https://",
        ),
        (DATABASE + SEALING + 'heads_secret = "file:/s"\n', "must be given and https://"),
        (DATABASE + '[journal]\nkey = "file:/k"\nfile = "j"\n', "[journal] file must be an absolute path"),
        (DATABASE + '[journal]\nkey = "file:/k"\nfile = "/j"\nname = "a b"\n', "[journal] name must be 1 to 64"),
        (DATABASE + '[handoff]\ndummy_number = "+1"\n', "digits"),
        (DATABASE + '[backup]\nstanza = "a b"\n', "is not the name of a stanza"),
        (DATABASE + '[backup]\nstanza = "s"\nrepositories = [1, 1]\n', "each once"),
        (DATABASE + '[backup]\nstanza = "s"\nrepositories = [9]\n', "some of 1, 2, 3, 4"),
        (DATABASE + '[backup]\nstanza = "s"\nconfig = "x.conf"\n', "an absolute path"),
        (DATABASE + '[backup]\nstanza = "s"\nkeys = ["/k"]\n', "keys must be file:PATH"),
        (DATABASE + '[backup]\nstanza = "s"\nnewest_max_age_h = 0\n', "more than 0"),
        (DATABASE + '[destinations]\ncountries = ["China"]\n', "ISO 3166"),
        (DATABASE + GATEWAY.replace("direct", "magic"), "'edge' or 'direct'"),
        (DATABASE + GATEWAY.replace('"127.0.0.1:5080"', '""'), "proxy"),
        (DATABASE + GATEWAY.replace("127.0.0.1:", "[::1]:"), "a name or an IPv4 address"),
        (DATABASE + GATEWAY.replace(":5080", ":65536"), "HOST:PORT"),
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


SECRET = "hunter2sesame"
MALFORMED = (
    "postgresql+psycopg2://u:{}@127.0.0.1:port/db",
    "postgresql+psycopg2://u:{}",
    "postgresql+psycopg2://u:p@{}@127.0.0.1:5432/db",
    "postgresql+psycopg2://u:{}@127.0.0.1:5432x/db",
)


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_is_a_config_error_that_does_not_quote_it(url: str):
    """A URL that cannot be read is refused with the file's name; neither text nor context repeats the password."""
    with pytest.raises(ConfigError) as caught:
        config.loads(f'[database]\nurl = "{url.format(SECRET)}"\n', source="shield.toml")
    assert "shield.toml: [database] url" in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_url_with_an_unknown_option_is_a_config_error():
    """An option libpq does not know is refused before anything is connected to."""
    loaded = config.loads(DATABASE.replace("/shield", "/shield?colour=red"))
    with pytest.raises(ConfigError, match=r"\[database\] url"):
        address.parameters(loaded.database)


def test_a_database_config_shows_no_url():
    """The repr of a configuration holds no password."""
    assert SECRET not in repr(config.loads(DATABASE.replace("worker@", f"worker:{SECRET}@")))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_with_a_password_is_its_owners_alone(tmp_path, mode: int):
    """A configuration with a password that others can read is refused, with the mend; without one it may be read."""
    path = tmp_path / "worker.toml"
    for with_password in (f"worker:{SECRET}@/shield", f"worker@/shield?password={SECRET}"):
        path.write_text(f'[database]\nurl = "postgresql+psycopg2://{with_password}"\n')
        path.chmod(mode)
        with pytest.raises(ConfigExposed, match="chmod 600 it") as caught:
            config.load(path)
        assert str(path) in str(caught.value)
        assert SECRET not in str(caught.value)
        path.chmod(0o600)
        assert config.load(path).database.holds_password
    path.write_text(DATABASE)
    path.chmod(mode)
    assert config.load(path).source == str(path)


def test_a_password_may_stand_in_a_file_of_its_own(tmp_path):
    """``password`` names a file whose one line reaches libpq; special characters need no escapes there."""
    secret = tmp_path / "password"
    secret.write_text("p@ss:w/rd?%\n")
    secret.chmod(0o400)
    loaded = config.loads(DATABASE + f'password = "file:{secret}"\n')
    assert address.parameters(loaded.database) == {"user": "worker", "dbname": "shield", "password": "p@ss:w/rd?%"}


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"good\n", 0o440, "mode 0440"),
        (b"", 0o400, "one line"),
        (b"two\nlines\n", 0o400, "one line"),
        (b"\xff\xfe", 0o400, "UTF-8"),
        (b"x" * 2000, 0o400, "one line"),
        (None, 0, "No such file"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_a_config_error(tmp_path, content, mode: int, says: str):
    """A file that is exposed, absent or not one line is refused, without a byte of it."""
    secret = tmp_path / "password"
    if content is not None:
        secret.write_bytes(content)
        secret.chmod(mode)
    loaded = config.loads(DATABASE + f'password = "file:{secret}"\n')
    with pytest.raises(ConfigError, match=says) as caught:
        address.parameters(loaded.database)
    assert "good" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("source", "named"),
    [("file", "/etc/x.toml"), ("[esl] listen", "/etc/x.toml: [esl] listen"), ("installation", "installation")],
)
def test_an_error_found_later_names_the_file_too(source: str, named: str):
    """What a command finds wrong with a section is said of the file the section is in."""
    error = ConfigError(source=source, problem="it is so").in_file("/etc/x.toml")
    assert str(error) == f"The configuration {named} is not usable: it is so. [config.invalid]"


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_sample_can_be_read(sample):
    """The samples in the documentation are configurations."""
    config.loads(sample.read_text())


def test_the_reference_names_every_key_with_its_default():
    """docs/configuration.md has a row for each key of each section, and for no other; defaults are the real ones."""
    page = (SAMPLES.parent / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `((?:\[\[?[a-z.]+\]\]?) [a-z_]+)` \| ([^|]*) \|", page, flags=re.MULTILINE))
    assert set(rows) == set(KEYS)
    for key, default in KEYS.items():
        assert rows[key] == default, key


def test_every_role_has_a_sample():
    """Nobody starts from an empty file."""
    roles = {"admin", "tokeniser", *LOGIN_ROLES} - {"masker"}  # the tokeniser has a seeder's login
    assert {path.stem for path in SAMPLES.glob("*.toml")} == roles
