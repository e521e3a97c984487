"""torch.export: a .pt2 file, which torch runs without the code that made it. Facts stand beside the graph, inside."""

import warnings
from pathlib import Path

import torch

from shared.export.base import FACTS, Images, Runner, Source
from shared.export.program import program_of

SUFFIX = ".pt2"


def write(source: Source, place: Path) -> None:
    """Graph and raw weights in a zip; without the example inputs, which torch would pickle."""
    program = program_of(source)
    program.example_inputs = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.export.save(program, str(place), extra_files={FACTS: source.facts})


def reload(place: Path) -> Runner:
    """By torch.export.load, of a file that this process wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        module = torch.export.load(str(place)).module()

    def run(images: Images) -> Images:
        with torch.inference_mode():
            found: Images = module(torch.from_numpy(images)).numpy()
        return found

    return run
