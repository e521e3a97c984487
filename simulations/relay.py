"""A simulated hospital's relay: the same ClientApp, with the Site in the same process, not behind a socket."""

import os
from functools import cache
from pathlib import Path

from flwr.app import Context

from client.app import make_relay
from client.home import Home
from client.site import Site
from shared.errors import InputError

#: Site folders, separated as PATH is, in the order of the partitions.
SITES = "KONSIL_SITES"


@cache
def _site(folder: Path) -> Site:
    return Site(Home(folder))


def to_site(request: bytes, context: Context, _until: float) -> bytes:
    """The answer of the Site at this node's partition."""
    folders = os.environ.get(SITES, "").split(os.pathsep)
    partition = int(context.node_config.get("partition-id", 0))
    if not folders[0] or partition >= len(folders):
        raise InputError("node", expected=f"a site folder in {SITES}", got="none")
    return _site(Path(folders[partition])).handle(request)


app = make_relay(to_site)
