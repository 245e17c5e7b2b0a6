"""A worker and keys: it has none, and does not start where it could have one."""

from __future__ import annotations

import pytest

from esl_shield import config
from esl_shield.errors.process import WorkerMisplaced
from esl_shield.service.worker import Worker

NOWHERE = "file:/nowhere/kek"
DEVICE = "pkcs11:token=t;object=k?module-path=/nowhere/m.so&pin-source=file:"
# [keys] kek and previous ({} is a file the worker can read), and what it says.
WITHIN_REACH = {
    "the KEK": ("file:{}", NOWHERE, "it can read the KEK;"),
    "the PIN": (DEVICE + "{}", NOWHERE, "it can read the PIN of the KEK's device;"),
    "an earlier KEK": (NOWHERE, "file:{}", "it can read an earlier KEK;"),
    "an earlier PIN": (NOWHERE, DEVICE + "{}", "it can read the PIN of an earlier KEK's device;"),
    "an earlier PIN beside one out of reach": (DEVICE + "/nowhere/pin", DEVICE + "{}", "an earlier KEK's device;"),
}


@pytest.mark.parametrize("name", WITHIN_REACH)
def test_a_worker_that_can_read_any_of_the_keys_does_not_start(name, tmp_path):
    """The KEK, an earlier one and the PINs of their devices are all out of its reach, or it refuses."""
    file = tmp_path / "secret"
    file.write_text("x")
    kek, previous, says = (text.replace("{}", str(file)) for text in WITHIN_REACH[name])
    text = (
        '[database]\nurl = "postgresql+psycopg2://worker@/shield"\n[[gateways]]\nname = "a"\ndelivery = "edge"\n'
        f'[keys]\nkek = "{kek}"\nprevious = ["{previous}"]\n'
    )
    with pytest.raises(WorkerMisplaced, match=says):
        Worker.from_config(config.loads(text), None)
