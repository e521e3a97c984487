"""What the network side tells the agent of itself, so that one `status` shows both. It is believed for nothing else."""

from typing import Annotated

from msgspec import Meta

from shared.wire import Record

Text = Annotated[str, Meta(max_length=300)]


class NodeReport(Record, frozen=True):
    """`registered`: the coordinator knows this node, by its number `node`, since `since` (ISO, UTC)."""

    coordinator: Text
    registered: bool = False
    node: Text = ""
    since: Text = ""
    messages: int = 0
    last_message: Text = ""
    restarts: int = 0
    trouble: Text = ""
