"""The ClientApp: a relay. It hands each message to the Site and returns the answer; it judges and computes nothing.

Where the Site is: the folder that the node's own configuration names as `site` (a SuperNode), or, in a simulation, the
entry of KONSIL_SITES (folders, separated as PATH is) at this node's partition.
"""

import os
from functools import cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.home import Home
from client.site import Site
from shared.errors import InputError
from shared.relay import open_message, wrap

SITES = "KONSIL_SITES"


@cache
def _site(folder: Path) -> Site:
    return Site(Home(folder))


def _folder(context: Context) -> Path:
    if "site" in context.node_config:
        return Path(str(context.node_config["site"]))
    folders = os.environ.get(SITES, "").split(os.pathsep)
    partition = int(context.node_config.get("partition-id", 0))
    if not folders[0] or partition >= len(folders):
        raise InputError("node", expected=f"a site folder in its node config or in {SITES}", got="none")
    return Path(folders[partition])


app = ClientApp()


@app.train()
def relay(message: Message, context: Context) -> Message:
    """One Konsil message in, one out."""
    request = open_message(message)
    reply = _site(_folder(context)).handle(request if request is not None else b"")
    return Message(wrap(reply), reply_to=message)
