"""ONNX: one file that ONNX Runtime and most others run. Facts stand in its metadata_props."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as state

from shared.errors import InputError
from shared.export.base import FACTS, Images, Runner, Source
from shared.export.program import program_of

#: Names of what goes in and what comes out.
INPUT, OUTPUT = "images", "output"
SUFFIX = ".onnx"
#: What ONNX Runtime raises of a graph that it cannot run; they share no base but Exception.
_FAILURES = (state.Fail, state.InvalidArgument, state.NotImplemented, state.RuntimeException)


def write(source: Source, place: Path) -> None:
    """By torch's exporter on torch.export's graph; checked as ONNX's own checker does. Raises InputError for a network
    with an operation that ONNX has not."""
    program = program_of(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            written = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT], optimize=True
            )
        except torch.onnx.errors.OnnxExporterError as error:
            first = str(error).strip().splitlines()[0]
            do = "Export it as torch-export or torchscript."
            raise InputError("onnx", expected="operations that ONNX has", got=first[:300], do=do) from None
    if written is None:
        raise InputError("onnx", expected="an ONNX program", got="none", do="Export it as torchscript.")
    written.model.metadata_props[FACTS] = source.facts
    written.save(str(place))
    onnx.checker.check_model(str(place), full_check=True)


def reload(place: Path) -> Runner:
    """By ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(place), options, providers=["CPUExecutionProvider"])

    def run(images: Images) -> Images:
        try:
            found: Images = np.asarray(session.run([OUTPUT], {INPUT: images})[0], np.float32)
        except _FAILURES as error:
            raise RuntimeError(str(error)) from None
        return found

    return run
