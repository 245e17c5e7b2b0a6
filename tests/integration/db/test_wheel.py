"""What a site installs: the wheel, with everything it needs, run from a folder that is not ours."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from esl_shield.db.embedded import EmbeddedPostgres
from esl_shield.shipped import shipped

ROOT = Path(__file__).parents[3]
SOURCES = ("esl_shield", "migrations", "dialplan", "edge", "setup.cfg", "pyproject.toml", "README.md")


def _configuration():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser["options"]


def test_the_list_of_packages_is_complete():
    """Every package of the tree is named in setup.cfg, and no other."""
    listed = set(_configuration()["packages"].split())
    mapped = {line.split(" = ")[0] for line in _configuration()["package_dir"].strip().splitlines()}
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "esl_shield").rglob("__init__.py")
        if "build" not in path.parts
    }
    assert listed - mapped - {"esl_shield.migrations.versions"} == found


def test_a_checkout_finds_its_folders():
    """Beside the package when it was not installed."""
    assert shipped("migrations") == ROOT / "migrations"
    assert (shipped("dialplan") / "README.md").is_file()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel built from a copy of the sources; needs the package index for setuptools."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy)
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", copy / "dist", copy],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built.returncode and "No matching distribution" in built.stdout and os.environ.get("CI") != "true":
        pytest.skip("the package index cannot be reached")
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next((copy / "dist").glob("*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_wheel_holds_what_the_checkout_holds(wheel):
    """Every shipped file of package, migrations and dialplan is in the wheel."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT)
        for folder in ("esl_shield", "migrations", "dialplan")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wanted = {str(path) if path.parts[0] == "esl_shield" else f"esl_shield/{path}" for path in wanted}
    assert wanted - inside == set()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_installed_wheel_upgrades_a_database_from_an_empty_folder(wheel, tmp_path):
    """`python -m esl_shield db upgrade`, with nothing of the checkout in reach, twice."""
    target, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel]
    subprocess.run(install, check=True, capture_output=True)
    dependencies = f"{target}{os.pathsep}{sysconfig.get_paths()['purelib']}"
    with EmbeddedPostgres() as postgres:
        (empty / "shield.toml").write_text(f'[database]\nurl = "{postgres.url()}"\n')
        (empty / "shield.toml").chmod(0o600)

        def run(*arguments):
            return subprocess.run(
                [sys.executable, "-P", "-m", "esl_shield", "--config", "shield.toml", "db", *arguments],
                cwd=empty, env={"PYTHONPATH": dependencies, "PATH": os.environ["PATH"]},
                capture_output=True, text=True, check=False,
            )  # fmt: skip

        assert run("upgrade").returncode == 2
        assert run("roles").returncode == 0
        first, second = run("upgrade"), run("upgrade")
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert first.stdout.startswith("at revision 0003 (was none)")
        assert second.stdout == "up to date at revision 0002\n"
        where = subprocess.run(
            [sys.executable, "-P", "-c", "import esl_shield; print(esl_shield.__file__)"],
            cwd=empty, env={"PYTHONPATH": dependencies}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert where.stdout.startswith(str(target))
