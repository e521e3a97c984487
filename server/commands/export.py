"""konsil-server export: a finished model in the format of others, loaded again and compared before it is there.

The coordinator's daemons have no torch (docs/adr/0013): the work is done in a process that ends with it.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from server.home import ServerHome
from server.text import printable
from shared.published import pinned
from shared.workers import aside

#: shared/export/run.FORMATS, which needs torch
FORMATS = ("onnx", "torchscript", "torch-export", "monai-bundle")
HERE = Path()


def export(
    model: Annotated[
        Path, typer.Argument(help="A published model, a run's folder, model.safetensors, or a run of the coordinator.")
    ],
    *,
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="The file, or for a bundle the folder, to write; nothing may be there.")],
    root: Annotated[
        Path | None, typer.Option(help="root.pub of the federation: refuse a model not signed by it.")
    ] = None,
    dir: Annotated[Path, typer.Option("--dir", envvar="KONSIL_DIR", help="The coordinator's folder.")] = HERE,
) -> None:
    """Write a model as ONNX, TorchScript, torch.export or a MONAI bundle; it is loaded again and compared first."""
    own = ServerHome(dir).models / model
    place = model if model.exists() or not own.is_dir() else own
    key = None if root is None else pinned(root)
    done = aside("shared.export.run", "export", place, key, format, out)
    told = (
        f"wrote {done.place}: loaded again, {done.outputs} outputs differ by at most {done.difference:.1e}"
        f" (the largest is {done.largest:.3g})"
    )
    console = Console(soft_wrap=True)
    console.print(Text(printable(told)))
    if not done.genuine:
        console.print("no signature was checked: nobody vouches for the model (--root)", highlight=False)
