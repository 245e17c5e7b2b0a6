"""The arrows between rooms, walked over the package's real imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import esl_shield

PACKAGE = Path(esl_shield.__file__).parent
ANY = {"config", "errors", "__init__", "shipped", "canonical"}
# room -> the rooms it may import directly
ALLOWED = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "shipped": {"errors"},
    "canonical": set(),
    "config": {"errors"},
    "db": ANY,
    "esl": ANY,
    "http": ANY,
    "vault": ANY | {"db"},
    "audit": ANY | {"db"},
    "calls": ANY | {"db", "esl", "vault.tokens", "audit.events"},
    "resolver": ANY | {"db", "vault", "audit", "http"},
    "api": ANY | {"db"},
    "service": ANY | {"api", "db", "esl", "http", "calls", "resolver", "vault", "audit"},
    "tryout": ANY | {"db", "esl", "http", "calls", "resolver", "vault", "audit", "service"},
    "cli": ANY | {"api", "db", "esl", "http", "calls", "resolver", "vault", "audit", "service", "tryout"},
}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name below ``esl_shield``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(path: Path) -> set[str]:
    """The package's own modules a file imports, resolved to modules, wherever in the file the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    own = {name.removeprefix("esl_shield.") for name in names if name.startswith("esl_shield.")}
    return {module for name in own if (module := resolve(name))}


def resolve(name: str) -> str | None:
    """The module a dotted name belongs to: itself, or its parent when it names a class or function."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


GRAPH = {name: imports_of(path) for name, path in MODULES.items()}


def reachable(start: str) -> set[str]:
    """Every module that importing ``start`` brings in, transitively."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in GRAPH[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def in_room(module: str, room: str) -> bool:
    """Whether a module is the room or lies in it."""
    return module == room or module.startswith(f"{room}.")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_room_may(module: str):
    """Each import follows an arrow between rooms."""
    room = module.partition(".")[0]
    allowed = ALLOWED[room]
    strays = {name for name in GRAPH[module] if not in_room(name, room) and not any(in_room(name, a) for a in allowed)}
    assert not strays, f"{module} must not import {sorted(strays)}"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if in_room(name, "calls")))
def test_a_call_cannot_reach_decryption(module: str):
    """Whatever a worker's call imports, transitively, holds no key, cipher or resolver code."""
    brought = reachable(module)
    vault = {m for m in brought if in_room(m, "vault")} - {"vault", "vault.tokens"}
    forbidden = vault | {m for m in brought if in_room(m, "resolver")}
    assert not forbidden


@pytest.mark.parametrize("module", sorted(name for name in MODULES if in_room(name, "resolver")))
def test_the_resolver_never_reaches_freeswitch(module: str):
    """The only code that decrypts never imports the event socket or the calls."""
    assert not [m for m in reachable(module) if in_room(m, "esl") or in_room(m, "calls")]


@pytest.mark.parametrize("module", sorted(name for name in MODULES if in_room(name, "api")))
def test_the_api_cannot_reach_keys(module: str):
    """Whatever the HTTP API's own code imports, transitively, holds no key, cipher or number."""
    assert not [m for m in reachable(module) if in_room(m, "vault") or in_room(m, "resolver")]


def test_every_room_is_drawn():
    """No folder or top-level module stands outside the rooms."""
    assert {name.split(".")[0] for name in MODULES} <= set(ALLOWED)


def test_numpy_is_loaded_by_the_search_for_leaks_alone():
    """One module imports numpy, and what brings it in is the search and its commands: others start without it."""
    users = {name for name, path in MODULES.items() if "import numpy" in path.read_text(encoding="utf-8")}
    assert users == {"audit.leakscan.sieve"}
    rooms = ("audit.leakscan", "cli.leakscan", "cli.canary", "service.canary")
    brought = {name for name in MODULES if reachable(name) & users} | users
    assert [name for name in sorted(brought) if not any(in_room(name, room) for room in rooms)] == []
