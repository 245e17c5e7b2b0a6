"""The TOML configuration as frozen dataclasses.

Invariants: an unknown key is an error, so that a typing mistake never silently weakens a setting; every value is
checked when the file is read, before any socket or key is opened; a secret is named by where it is (``file:``), never
written in the file; the one exception, a password in the database's URL, is taken from a file only its owner can read.
Each role (worker, resolver, seeder, auditor, administrator) has a file of its own.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from esl_shield.config.api import ApiConfig, OAuthConfig, TokeniserConfig
from esl_shield.config.backup import BackupConfig
from esl_shield.config.calls import (
    CallsConfig,
    EslConfig,
    FreeSwitchConfig,
    HandoffConfig,
    InboundConfig,
    MetricsConfig,
)
from esl_shield.config.canary import CanaryConfig
from esl_shield.config.clicks import ClicksConfig
from esl_shield.config.crm import CrmConfig
from esl_shield.config.database import DatabaseConfig
from esl_shield.config.endings import IntakeConfig, ReaperConfig
from esl_shield.config.erasure import ErasureConfig
from esl_shield.config.gateways import Gateway
from esl_shield.config.policy import PolicyConfig
from esl_shield.config.reading import NOT_IN_FILE, build
from esl_shield.config.resolver import DestinationsConfig, KeysConfig, MaskingConfig, ResolverConfig, RevealsConfig
from esl_shield.config.retention import RetentionConfig
from esl_shield.config.sealing import JournalConfig, SealingConfig
from esl_shield.config.webhooks import WebhooksConfig
from esl_shield.errors.config import ConfigError, ConfigExposed

CONFIG_VARIABLE = "ESL_SHIELD_CONFIG"


@dataclass(frozen=True)
class Config:
    """One role's whole configuration; sections a role does not use are absent. ``source`` is the file's path."""

    database: DatabaseConfig
    keys: KeysConfig | None = None
    esl: EslConfig = field(default_factory=EslConfig)
    handoff: HandoffConfig = field(default_factory=HandoffConfig)
    calls: CallsConfig = field(default_factory=CallsConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    inbound: InboundConfig = field(default_factory=InboundConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    freeswitch: FreeSwitchConfig | None = None
    resolver: ResolverConfig = field(default_factory=ResolverConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    reveals: RevealsConfig = field(default_factory=RevealsConfig)
    erasure: ErasureConfig = field(default_factory=ErasureConfig)
    destinations: DestinationsConfig = field(default_factory=DestinationsConfig)
    backup: BackupConfig | None = None
    canary: CanaryConfig | None = None
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    gateways: tuple[Gateway, ...] = ()
    crm: tuple[CrmConfig, ...] = ()
    sealing: SealingConfig | None = None
    journal: JournalConfig | None = None
    intake: IntakeConfig | None = None
    reaper: ReaperConfig | None = None
    webhooks: WebhooksConfig | None = None
    clicks: ClicksConfig | None = None
    api: ApiConfig = field(default_factory=ApiConfig)
    tokeniser: TokeniserConfig = field(default_factory=TokeniserConfig)
    oauth: OAuthConfig | None = None
    source: str = field(default="text", compare=False, metadata=NOT_IN_FILE)

    def __post_init__(self) -> None:
        names = [gateway.name for gateway in self.gateways]
        if len(set(names)) != len(names):
            message = "[[gateways]] two gateways have the same name"
            raise ValueError(message)
        if len({service.tenant for service in self.crm}) != len(self.crm):
            message = "[[crm]] two services are of the same tenant"
            raise ValueError(message)


def load(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the file given, or the one ``ESL_SHIELD_CONFIG`` names; raises ConfigError, ConfigExposed."""
    chosen = path or os.environ.get(CONFIG_VARIABLE)
    if not chosen:
        raise ConfigError(source="file", problem=f"none was named; give --config FILE or set {CONFIG_VARIABLE}")
    try:
        with Path(chosen).open(encoding="utf-8") as file:
            text, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(source=chosen, problem=f"it cannot be read ({problem})") from None
    config = loads(text, source=str(chosen))
    databases = [config.database, *filter(None, [config.masking.database])]
    databases += [config.canary.database] if config.canary else []
    if mode & (stat.S_IRGRP | stat.S_IROTH) and any(database.holds_password for database in databases):
        raise ConfigExposed(source=chosen, mode=f"{mode:04o}")
    return config


def loads(text: str, *, source: str = "text") -> Config:
    """Read configuration from TOML text; ``source`` names it in errors. Raises ConfigError."""
    try:
        return dataclasses.replace(build(Config, tomllib.loads(text), where=""), source=source)
    except (tomllib.TOMLDecodeError, ValueError, TypeError) as error:
        raise ConfigError(source=source, problem=str(error)) from None
    except ConfigError as error:
        raise error.in_file(source) from None
