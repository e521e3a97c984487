"""konsil-server weights: the file a study begins with, from weights that somebody else trained.

In this room, because the operator writes the study and lays the file beside it; hospitals only compare its SHA-256.
"""

import hashlib
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from safetensors.numpy import save

from server.text import printable
from server.weights.archive import read_tensors
from server.weights.matching import Matched, match, renamed
from shared.errors import InputError
from shared.files import write_atomically
from shared.layout import layout_for
from shared.study import read_study

#: Names that a line of the report shows.
SHOWN = 5


def weights(
    file: Annotated[Path, typer.Argument(help="Of torch (.pt, .pth, TorchScript), of MONAI (a bundle), safetensors.")],
    study: Annotated[Path, typer.Option(help="The study whose model they are for.")],
    out: Annotated[Path, typer.Option(help="The file to write, beside the study.")] = Path("init.safetensors"),
    change: Annotated[
        list[str] | None, typer.Option("--map", help="OLD=NEW: names beginning with OLD begin with NEW instead.")
    ] = None,
) -> None:
    """Take the weights that STUDY's model has a place for out of FILE, without running anything in it."""
    console, layout = Console(), layout_for(read_study(study))
    tensors = renamed(read_tensors(file), _maps(change or []))
    found = match(layout, tensors)
    for line in report(found, len(layout.names)):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    chosen = found.chosen(tensors)
    if not chosen:
        raise InputError(
            str(file),
            expected="weights of the study's model",
            got="none that fit",
            do="Compare the names above, and give --map OLD=NEW.",
        )
    if wrong := [name for name, tensor in chosen.items() if not np.isfinite(tensor).all()]:
        raise InputError(str(file), expected="finite numbers", got=f"NaN or infinity in {wrong[0]}")
    data = save({name: np.ascontiguousarray(chosen[name]) for name in sorted(chosen)})
    write_atomically(out, data)
    console.print(f'init = "{out.name}"\ninit_sha256 = "{hashlib.sha256(data).hexdigest()}"', soft_wrap=True)


def report(found: Matched, wanted: int) -> list[str]:
    """What became of every weight and tensor, a line for each outcome that there is."""
    foreign = tuple(name for name in found.unused if name not in found.running)
    lines = [
        (f"{len(found.same)} of {wanted} weights found by name", ()),
        ("with another beginning", tuple(f"{old} as {new}" for new, old in found.renamed.items())),
        ("of another shape, left out", tuple(f"{old} for {new}" for new, old in found.shape.items())),
        ("not in the file, drawn from the seed", found.missing),
        ("running statistics of BatchNorm, unused: GroupNorm keeps none", found.running),
        ("in the file, but not in the model", foreign),
    ]
    return [
        text if not names else f"{len(names)} {text}: {_some(names)}" for text, names in lines if names or "by" in text
    ]


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _maps(options: list[str]) -> dict[str, str]:
    maps = {}
    for option in options:
        old, separator, new = option.partition("=")
        if not separator or old in maps:
            raise InputError("--map", expected="OLD=NEW, each OLD once", got=option, do="Give both beginnings.")
        maps[old] = new
    return maps
