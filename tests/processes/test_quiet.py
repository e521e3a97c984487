"""No telemetry, nothing dials out: everything here ran where every packet that leaves loopback is heard."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.commands.coordinator import queue_file
from server.history import History
from shared.supervise import script

if TYPE_CHECKING:
    from tests.processes.conftest import Network, Real

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace")
STUDY = """
name = "quiet"
[task]
labels = ["clear", "nodule"]
[input]
modalities = ["DX", "CR"]
size = [16, 16]
[model]
name = "cnn"
[training]
rounds = 1
batch = 4
local_steps = 1
learning_rate = 0.05
[federation]
min_sites = 2
timeout_s = 4.0
max_images = 1000
[privacy]
mode = "off"
"""


def test_a_whole_run_talks_to_nobody_outside(real: "Real", network: "Network", tmp_path: Path) -> None:
    """Start, registration, a run from its queue to its end (birch stays away, so alder alone is too few)."""
    (tmp_path / "study.toml").write_text(STUDY)
    history = History(real.coordinator.history)
    name = queue_file(real.coordinator, history, tmp_path / "study.toml", "model")
    real.until(lambda: history.run(name).state not in ("queued", "running"), "the run's end", 90.0)
    status = real.status()
    assert status is not None
    assert status.last_message.what == "join"
    assert real.taking_part()
    assert network.heard == []


@pytest.mark.parametrize("switch", ["FLWR_DISABLE_UPDATE_CHECK", "FLWR_TELEMETRY_ENABLED"])
def test_the_listener_hears_what_konsil_switches_off(network: "Network", tmp_path: Path, switch: str) -> None:
    """Flower's SuperNode, with one of the two switched on again."""
    loud = {"FLWR_DISABLE_UPDATE_CHECK": "0", "FLWR_TELEMETRY_ENABLED": "1"}
    environment = {**os.environ, "FLWR_HOME": str(tmp_path), switch: loud[switch]}
    network.changed.clear()
    command = [script("flower-supernode"), "--insecure", "--superlink", "127.0.0.1:1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert network.changed.wait(30)
        process.kill()
    network.heard.clear()
