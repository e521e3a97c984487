"""What the network side tells the agent of itself, so that one `status` shows both. It is believed for nothing else.

Its texts reach a terminal: no control character is admitted.
"""

from typing import Annotated

from msgspec import Meta

from shared.wire import Record

Text = Annotated[str, Meta(max_length=300, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]


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
