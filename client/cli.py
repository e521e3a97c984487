"""konsil-client: the hospital. What it reads, what it may spend, what left the house."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from client.commands.approve import approve
from client.commands.audit import head, verify
from client.commands.daemon import agent, node, status, up
from client.commands.deidentify import deidentify
from client.commands.doctor import doctor
from client.commands.evaluate import evaluate
from client.commands.join import fingerprint, join
from client.commands.ledger import ledger_app
from client.commands.own import own_model
from client.commands.pull import listen, pull
from client.commands.rotate import rotate
from client.commands.scan import scan
from client.dicom.dicomize import dicomize as write_archive
from shared.console import bars
from shared.console import run as run_app

app = typer.Typer(
    name="konsil-client", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
audit_app = typer.Typer(no_args_is_help=True, help="What left the house.")
app.add_typer(audit_app, name="audit")
app.add_typer(ledger_app, name="ledger")
for command in (
    scan,
    pull,
    listen,
    deidentify,
    join,
    fingerprint,
    rotate,
    up,
    agent,
    node,
    status,
    approve,
    doctor,
    evaluate,
    own_model,
):
    app.command()(command)
for command in (verify, head):
    audit_app.command()(command)


@app.command()
def dicomize(
    images: Annotated[Path, typer.Argument(help="Folder, .zip or .npz of PNG or JPEG images.")],
    out: Annotated[Path, typer.Option(help="Archive folder to write.")],
    labels: Annotated[
        str | None, typer.Option(help="CSV with image, patient_id, label; or its name in the zip.")
    ] = None,
    label_column: Annotated[str, typer.Option(help="Column of it that becomes the label.")] = "label",
) -> None:
    """Turn images with a table of labels, and masks if there are, into a DICOM archive with labels.csv."""
    console = Console(stderr=True)
    with bars(console) as bar:
        task = bar.add_task("writing DICOM", total=None)
        count = write_archive(
            images,
            labels,
            out,
            label_column=label_column,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    console.print(f"wrote {count} images to {out}")


def main() -> NoReturn:
    """The console script."""
    run_app(app)
