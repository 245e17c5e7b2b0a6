"""Errors of the configuration file."""

from __future__ import annotations

from esl_shield.errors import UsageError


class ConfigError(UsageError):
    """The configuration file cannot be used."""

    error_id = "config.invalid"
    sentence = "The configuration {source} is not usable: {problem}."

    def in_file(self, path: str) -> ConfigError:
        """Return this error with the file named too, when it names only a section or no file at all."""
        source = str(self.fields["source"])
        if source == "file":
            return ConfigError(source=path, problem=self.fields["problem"])
        if source.startswith("["):
            return ConfigError(source=f"{path}: {source}", problem=self.fields["problem"])
        return self


class ConfigExposed(UsageError):
    """The configuration file holds a password and others than its owner can read it."""

    error_id = "config.exposed"
    sentence = (
        "The configuration {source} holds a password and has mode {mode}, so others can read it: chmod 600 it, and "
        "think of the password as known to others."
    )
