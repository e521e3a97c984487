"""A MONAI bundle: a folder that MONAI loads by name and runs from its configuration.

    configs/metadata.json · configs/inference.json · models/model.ts · docs/README.md

The network is TorchScript (models/model.ts) and not the usual model.pt: that is a pickle, which runs what it says when
it is loaded. MONAI evaluates text in a bundle's configuration that begins with "$" as Python, and follows "@" and "%":
so nothing from outside stands in one as a text of its own; labels and names are inside the JSON text `konsil`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import monai
import msgspec
import numpy as np
import torch
from monai.bundle.config_parser import ConfigParser

from shared.errors import MisuseError
from shared.export import torchscript
from shared.export.base import Images, Runner, Source
from shared.export.facts import Facts
from shared.version import versions

SUFFIX = ""
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
#: Of images, `input`/*.npy, to `output`, one array: python -m monai.bundle run --config_file configs/inference.json
INFERENCE = {
    "imports": ["$import functools", "$import glob", "$import numpy", "$import torch"],
    "bundle_root": ".",
    "input": "images",
    "output": "outputs.npy",
    "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "network_def": {
        "_target_": "torch.jit.load",
        "f": "$@bundle_root + '/models/model.ts'",
        "map_location": "@device",
    },
    "network": "$@network_def.to(@device).eval()",
    "preprocessing": {"_target_": "Compose", "transforms": ["$numpy.load", {"_target_": "EnsureType"}]},
    "dataset": {
        "_target_": "Dataset",
        "data": "$sorted(glob.glob(@input + '/*.npy'))",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 8},
    "inferer": {"_target_": "SimpleInferer"},
    "predict": "$functools.partial(@inferer, network=@network)",
    "put": {"_target_": "ToDevice", "device": "@device"},
    "run": [
        "$numpy.save(@output, torch.cat(list(map(@predict, map(@put, @dataloader)))).detach().cpu().numpy())",
    ],
}
README = """# A model made by Konsil

`models/model.ts` is the network, as TorchScript; `configs/metadata.json` says under `konsil` whose it is, what it takes
and what it gives. It takes float32 tensors between 0 and 1, which it scales itself; `konsil-client evaluate` makes them
of DICOM objects, and `configs/inference.json` reads them from `.npy` files:

    python -m monai.bundle run --config_file configs/inference.json --input FOLDER --output outputs.npy

For research. It is no medical device: no diagnosis or treatment may rest on it.
"""


def write(source: Source, place: Path) -> None:
    """The folder. Raises InputError for a network that cannot be traced."""
    facts = msgspec.json.decode(source.facts, type=Facts)
    for name in ("configs", "models", "docs"):
        (place / name).mkdir(parents=True)
    torchscript.write(source, place / "models" / "model.ts")
    (place / "configs" / "inference.json").write_bytes(_json(INFERENCE))
    (place / "configs" / "metadata.json").write_bytes(_json(metadata(source, facts)))
    (place / "docs" / "README.md").write_text(README, "utf-8")


def metadata(source: Source, facts: Facts) -> Mapping[str, object]:
    """metadata.json as MONAI's schema has it, and ours beside it as a text."""
    with torch.inference_mode():
        shape = list(source.network(source.images).shape[1:])
    kind, form = _form(facts, shape)
    inside = {
        "type": "image", "format": "magnitude", "num_channels": facts.shape[0], "spatial_shape": list(facts.shape[1:]),
        "dtype": "float32", "value_range": [facts.least, facts.most], "is_patch_data": facts.window is not None,
        "channel_def": {str(place): f"channel {place}" for place in range(facts.shape[0])},
    }  # fmt: skip
    outside = {
        "type": kind, "format": form, "num_channels": shape[0], "spatial_shape": shape[1:],
        "dtype": "float32", "value_range": [], "is_patch_data": facts.window is not None,
        "channel_def": {str(place): f"output {place}" for place in range(shape[0])},
    }  # fmt: skip
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": "as Konsil wrote it"},
        "monai_version": monai.__version__,
        "pytorch_version": versions()["torch"].partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {},
        "name": f"Konsil {facts.study}",
        "task": f"Konsil {facts.task}",
        "description": "Trained over hospitals with Konsil; the images stayed there.",
        "authors": "the hospitals of the federation",
        "copyright": "the hospitals of the federation",
        "intended_use": facts.use,
        "network_data_format": {"inputs": {"image": inside}, "outputs": {"pred": outside}},
        "konsil": source.facts,
    }


def _form(facts: Facts, shape: Sequence[int]) -> tuple[str, str]:
    """Type and format of an output of `shape`, in the words of MONAI's bundle specification, which has none for logits
    and for measured values."""
    logits, maps = facts.link in ("softmax", "sigmoid"), shape[1:] == list(facts.shape[1:])
    if maps:
        return "image", "logits" if logits else "magnitude"
    return ("probabilities", "logits") if logits else ("tuples", "values")


def reload(place: Path) -> Runner:
    """By MONAI's own parser, from the configuration that was written."""
    parser = ConfigParser()
    parser.read_config(str(place / "configs" / "inference.json"))
    parser.read_meta(str(place / "configs" / "metadata.json"))
    parser["bundle_root"] = str(place.resolve())
    parser["device"] = "$torch.device('cpu')"
    with torchscript.quiet():
        network = parser.get_parsed_content("network")
    if not isinstance(network, torch.jit.ScriptModule):
        raise MisuseError("bundle", expected="a TorchScript network", got=type(network).__name__)

    def run(images: Images) -> Images:
        with torch.inference_mode():
            found: Images = network(torch.from_numpy(images)).numpy()
        return found

    return run


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
