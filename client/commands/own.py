"""konsil-client own-model: this hospital's own model of a personalised study, out of what is kept here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from client.commands.daemon import DEFAULT_HOME, HomeOption
from client.home import Home
from client.kept import Keeper
from shared.files import write_atomically
from shared.published import pinned, read_model
from shared.text import printable


def own_model(
    model: Annotated[Path, typer.Argument(help="The finished model of the run.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    root: Annotated[
        Path | None, typer.Option(help="root.pub of the federation: refuse a model not signed by it.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("own.safetensors"),
) -> None:
    """Write this hospital's own model of a study with federation.personal; evaluate and export read it."""
    from client.own_model import own_model as made  # noqa: PLC0415  torch takes seconds

    folder = Home(home.expanduser())
    keeper = Keeper(folder.path / "kept", most_bytes=int(folder.config.kept_gib * 2**30))
    found = read_model(model, None if root is None else pinned(root))
    write_atomically(out, made(found, keeper), mode=0o600)
    told = f"wrote {out}: the model of {folder.config.name} alone. No sum hides its patients in it."
    Console(soft_wrap=True).print(Text(printable(told)))
