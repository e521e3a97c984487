"""The ServerApp: wiring only. Flower starts it; KONSIL_DIR names the coordinator's folder, the run's config the run."""

import os
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.collect import GridLink
from server.home import ServerHome
from server.turn import take_turn


def make_app(main: Callable[[Grid, Context], None]) -> ServerApp:
    """A ServerApp whose main function is `main`."""
    application = ServerApp()
    application.main()(main)
    return application


def _main(grid: Grid, context: Context) -> None:
    take_turn(ServerHome(Path(os.environ["KONSIL_DIR"])), str(context.run_config["run"]), GridLink(grid))


app = make_app(_main)
