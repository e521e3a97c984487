"""konsil-simulate synthesize: new images from the model of a finished run."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from shared.console import bars


def synthesize(
    run: Annotated[Path, typer.Argument(help="The run's folder, a published model, or its model.safetensors.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="How many images; labels take turns.")] = 100,
    out: Annotated[Path, typer.Option(help="Folder to write (of npz: the file); must not exist.")] = Path("synthetic"),
    seed: Annotated[int, typer.Option(min=0, help="Same model and seed, same images.")] = 0,
    form: Annotated[
        Literal["dicom", "png", "npz"], typer.Option(help="A DICOM archive, pictures with a table, or arrays.")
    ] = "dicom",
) -> None:
    """Draw COUNT images from the model of RUN, a study of kind synthesis."""
    from simulations.synthesize import synthesize as draw  # noqa: PLC0415  torch: seconds that --help need not wait

    console = Console(stderr=True)

    def warn(words: str) -> None:
        console.print(f"warning: {words}", markup=False, highlight=False, soft_wrap=True)

    with bars(console) as shown:
        task = shown.add_task("images drawn", total=count)

        def update(done: int, _: int) -> None:
            shown.update(task, completed=done)

        draw(run, out, count=count, seed=seed, form=form, progress=update, warn=warn)
    Console().print(f"wrote {out}", markup=False, highlight=False)
