import subprocess
import sys

import pytest

_CODE = """
import resource, sys
from esl_shield.cli.main import main
try:
    main()
finally:
    print("peak_kb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def _peak_kb(vault, rows, first):
    file = vault.folder / "big.csv"
    with file.open("w") as stream:
        stream.write("number,alias,note\n")
        stream.writelines(f"138{n:08d},C-{n},some text that is dropped\n" for n in range(first, first + rows))
    command = vault.command(
        "token", "import", str(file), "--tenant", "acme", "--output", str(vault.folder / "big.out.csv")
    )
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *command[3:]], env=vault.environment(), capture_output=True, text=True, check=True
    )
    return int(done.stderr.split("peak_kb")[1])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_flat_memory(vault):
    """An import of 200,000 rows needs hardly more memory than one of 40,000, which has its batches in flight too."""
    small = _peak_kb(vault, 40_000, 0)
    large = _peak_kb(vault, 200_000, 0)
    assert vault.count("tokens") == 200_000
    assert large - small < 16_000
