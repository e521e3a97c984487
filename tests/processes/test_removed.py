"""Last of all, for it ends the federation: a hospital that is removed is cut off."""

from typing import TYPE_CHECKING

import pytest

from server.commands.federation import remove
from server.control import control

if TYPE_CHECKING:
    from tests.processes.conftest import Real


@pytest.mark.usefixtures("capsys")
def test_a_removed_hospital_is_cut_off_and_is_told(real: "Real") -> None:
    keys = {entry.name: entry.node_key for entry in real.coordinator.federation.roster.entries}
    remove("alder", real.coordinator.path)
    real.until(lambda: not real.taking_part(), "alder is out", 60.0)
    with control(real.coordinator) as link:
        assert [node.key for node in link.nodes()] == [keys["birch"]]
    real.until(lambda: "does not know this node's key" in real.why_not(), "word of it", 60.0)
    real.stop()  # the session's other tests need its cores
