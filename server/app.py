"""The ServerApp: wiring only. Flower starts it; the run's folder says the rest."""

from collections.abc import Callable
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from rich.console import Console

from server.collect import GridLink
from server.federation import Federation
from server.progress import Progress
from server.run import conduct, open_run
from shared.study import read_study


def make_app(main: Callable[[Grid, Context], None]) -> ServerApp:
    """A ServerApp whose main function is `main`."""
    application = ServerApp()
    application.main()(main)
    return application


def _main(grid: Grid, context: Context) -> None:
    folder = Path(str(context.run_config["folder"]))
    start = open_run(folder, read_study(folder / "study.toml"), resume=bool(context.run_config.get("resume", False)))
    with Progress(Console()) as observer:
        conduct(start, GridLink(grid), Federation(folder / "federation"), observer)


app = make_app(_main)
