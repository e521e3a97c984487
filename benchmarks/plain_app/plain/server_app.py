"""The plain app's coordinator: Flower's FedAvg; writes each round's seconds, and the slowest hospital's, to a file."""

import json
import time
from pathlib import Path

from flwr.app import ArrayRecord, Context, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from shared.network import network_of
from shared.study import read_study

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study's rounds."""
    study = read_study(Path(str(context.run_config["study"])))
    sites = study.federation.min_sites
    strategy = FedAvg(
        min_available_nodes=sites,
        min_train_nodes=sites,
        min_evaluate_nodes=sites,
        train_metrics_aggr_fn=_slowest,
        evaluate_metrics_aggr_fn=_slowest,
    )
    ends: list[float] = []  # of round 0, before anything, and of every round

    def note(_round: int, _arrays: ArrayRecord) -> None:
        ends.append(time.monotonic())

    arrays, rounds = ArrayRecord(network_of(study).state_dict()), study.training.rounds
    found = strategy.start(grid, arrays, num_rounds=rounds, evaluate_fn=note)
    trained, evaluated = found.train_metrics_clientapp, found.evaluate_metrics_clientapp
    rows = [
        {
            "seconds": ends[k] - ends[k - 1],
            "slowest_site_s": float(str(trained[k]["seconds"])) + float(str(evaluated[k]["seconds"])),
        }
        for k in range(1, rounds + 1)
    ]
    Path(str(context.run_config["out"])).write_text(json.dumps(rows))


def _slowest(replies: list[RecordDict], _weight: str) -> MetricRecord:
    return MetricRecord({"seconds": max(float(str(reply["metrics"]["seconds"])) for reply in replies)})
