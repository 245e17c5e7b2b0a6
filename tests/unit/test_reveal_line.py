"""Who may see a number: held over the whole package by reading its syntax, not by searching its text."""

import ast
from pathlib import Path

import pytest

import esl_shield

PACKAGE = Path(esl_shield.__file__).parent
REVEALS = ("resolver/", "vault/seeding.py", "vault/numbers.py")
TAKES_DIGITS = ("vault/numbers.py", "vault/cipher.py", "vault/keyring.py", "vault/lookalikes.py", "vault/prefixes.py")


def _modules():
    return sorted(PACKAGE.rglob("*.py"))


def _may(module, places):
    return module.relative_to(PACKAGE).as_posix().startswith(places)


def _uses(source, name):
    """Lines that use a name as attribute, variable, import, or text handed to getattr and the like."""
    found = []
    for node in ast.walk(ast.parse(source)):
        named = (
            getattr(node, "attr", None),
            getattr(node, "id", None),
            getattr(node, "name", None) if isinstance(node, ast.alias) else None,
            node.value if isinstance(node, ast.Constant) else None,
        )
        if name in named:
            found.append(node.lineno)
    return found


def _line_of(module, beginning):
    """The one line of the table of commands that names the command of that name; None in any other module."""
    if module != PACKAGE / "cli" / "main.py":
        return None
    lines = module.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.startswith(beginning))


@pytest.mark.parametrize("module", _modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_line(module):
    """Only the resolver and the seeding reveal numbers; only cipher, index and look-alikes take their digits."""
    source = module.read_text(encoding="utf-8")
    if not _may(module, REVEALS):
        commands = [line for line in _uses(source, "reveal") if line == _line_of(module, '    "reveal": ("reveals", ')]
        assert _uses(source, "reveal") == commands
        assert _uses(source, "_SubscriberNumber__e164") == []
    if not _may(module, TAKES_DIGITS):
        assert _uses(source, "secret_digits") == _uses(source, "secret_digits_of") == []


@pytest.mark.parametrize(
    "source",
    [
        "number.reveal()",
        "f = number.reveal",
        "getattr(number, 'reveal')()",
        "from x import reveal",
        "operator.methodcaller('reveal')",
        "SubscriberNumber.reveal(n)",
    ],
)
def test_line_sees(source):
    """The check sees a call however it is written."""
    assert _uses(source, "reveal")


def test_line_is_not_textual():
    """The word in a comment or a docstring is no use."""
    assert not _uses('"""Never reveal it."""\n# reveal\n', "reveal")
