"""konsil-client rotate: new keys for a hospital that belongs already, without a new invite.

1. `rotate` makes the new identity beside the old one (with --node-key the node key too) and a request signed by both.
2. The consortium admits it. Until then, and until a roster lists the new identity, the old one stays in force.
3. The agent takes the new identity into use by itself (Home.adopt_identity). The network side cannot read rosters:
   after the admission, `rotate --finish` puts its new key in force; then restart it.
"""

from pathlib import Path
from typing import Annotated

import typer

from client.commands.daemon import DEFAULT_HOME, HomeOption, NodeHomeOption, beside
from client.enrolment import hand_over, last_request, node_key_at, write_request
from client.home import Home, make_next_identity
from client.node_home import NodeHome
from shared.enrolment import fingerprint_of, rotation_request
from shared.errors import InputError
from shared.files import sync_folder


def rotate(
    home: HomeOption = DEFAULT_HOME,
    node_home: NodeHomeOption = None,
    *,
    node_key: Annotated[bool, typer.Option("--node-key", help="A new key for the network side too.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Put the new node key in force, once admitted.")] = False,
) -> None:
    """Make new keys and the request to list them; the old ones hold until the consortium has admitted it."""
    folder = Home(home.expanduser().resolve())
    node = NodeHome((node_home or beside(home, "node")).expanduser().resolve())
    if finish:
        _finish(node)
        return
    last = last_request(folder)
    line = node_key_at(_next(node)) if node_key else last.node_key
    request = rotation_request(last, folder.identity, make_next_identity(folder.path), line)
    written = write_request(folder, request)
    hand_over(folder, node)
    typer.echo(f"Send {written} to the consortium, then compare by telephone: {fingerprint_of(request)}")
    typer.echo("Finish running studies first: those begun with the old identity end for this hospital.")
    if node_key:
        typer.echo("Once admitted: konsil-client rotate --finish, then restart the network side.")


def adopt_node_key(node: NodeHome) -> bool:
    """Put node.key.next in force if it is there; whether it did. The old key is gone then."""
    coming = _next(node)
    if coming.is_symlink() or not coming.is_file():
        return False
    coming.replace(node.key)
    sync_folder(node.path)
    return True


def _finish(node: NodeHome) -> None:
    if not adopt_node_key(node):
        raise InputError(
            str(_next(node)), expected="a new node key", got="none", do="Begin with konsil-client rotate --node-key."
        )
    typer.echo("the new node key is in force; restart the network side")


def _next(node: NodeHome) -> Path:
    return node.path / "node.key.next"
