"""konsil-server: the central coordinator."""

from typing import NoReturn

import typer
from rich.console import Console

from server.commands import coordinator, federation, members
from server.commands import runs as listing
from server.commands.doctor import doctor
from server.commands.export import export
from server.commands.search import search
from server.commands.web import password
from server.commands.weights import weights
from shared.console import run as run_app
from shared.version import versions

app = typer.Typer(
    name="konsil-server", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


@app.command()
def version() -> None:
    """Konsil and the libraries a result depends on."""
    for name, number in versions().items():
        Console().print(f"{name} {number}")


for command in (
    federation.init,
    federation.invite,
    federation.admit,
    federation.remove,
    federation.renew,
    members.members,
    coordinator.up,
    coordinator.run,
    search,
    coordinator.status,
    coordinator.cancel,
    listing.runs,
    listing.report,
    listing.models,
    listing.verify,
    export,
    doctor,
    password,
    weights,
):
    app.command()(command)


def main() -> NoReturn:
    """The console script."""
    run_app(app)
