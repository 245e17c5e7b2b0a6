"""Commands run in the test's own process, each with the configuration of one role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from esl_shield.cli.main import root
from esl_shield.errors import ShieldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vault_lab import VaultLab

Answer = tuple[int, str, str]


def run_in_process(lab: VaultLab, more: str = "") -> Callable[..., Answer]:
    """Return ``run(role, *arguments, stdin=None)``: exit code, stdout, stderr with the error's sentence."""
    configs: dict[str, str] = {}

    def config(role: str) -> str:
        if role not in configs:
            login = lab.database.admin if role == "admin" else lab.database.login(role, tenants=["acme"])
            path = lab.folder / f"{role}.toml"
            path.write_text(
                f'[database]\nurl = "{login.url}"\nconnect_timeout_s = 5\n[keys]\nkek = "{lab.kek_uri}"\n{more}'
            )
            path.chmod(0o600)
            configs[role] = str(path)
        return configs[role]

    def run(role: str, *arguments: str, stdin: bytes | str | None = None) -> Answer:
        return invoke(config(role), *arguments, stdin=stdin)

    return run


def invoke(config: str, *arguments: str, stdin: bytes | str | None = None) -> Answer:
    """Run one command with a configuration's file; exit code, stdout, stderr with the error's sentence."""
    made = CliRunner().invoke(root, ["--config", config, *arguments], input=stdin, standalone_mode=False)
    if made.exception is None:
        return made.return_value or 0, made.stdout, made.stderr
    code = (
        made.exception.exit_code
        if isinstance(made.exception, ShieldError)
        else getattr(made.exception, "exit_code", 99)
    )
    return code, made.stdout, made.stderr + str(made.exception)
