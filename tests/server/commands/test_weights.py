import hashlib
from pathlib import Path

import torch
import typer
from click.testing import Result
from typer.testing import CliRunner

from server.commands.weights import weights
from server.initial import start_of
from shared.network import network_of
from shared.study import MINIMAL, Study, parse_study

app = typer.Typer()
app.command()(weights)


def konsil(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def written(folder: Path, names: dict[str, torch.Tensor]) -> Path:
    (folder / "study.toml").write_text(MINIMAL)
    torch.save({"state_dict": names}, folder / "theirs.pt")
    return folder / "theirs.pt"


def begun(folder: Path, lines: str) -> tuple[Study, str]:
    """The study with the lines that the command printed under [model]."""
    text = MINIMAL.replace('name = "cnn"', f'name = "cnn"\n{lines}')
    return parse_study(text), text


def test_a_checkpoint_becomes_the_file_a_study_begins_with(tmp_path: Path) -> None:
    network = network_of(parse_study(MINIMAL))
    theirs = {
        f"model.encoder.{name}": tensor + 1 for name, tensor in network.state_dict().items() if "head" not in name
    }
    theirs["model.encoder.blocks.0.1.running_mean"] = torch.zeros(16)
    file = written(tmp_path, theirs)
    said = konsil(file, "--study", tmp_path / "study.toml", "--out", tmp_path / "init.safetensors")
    assert said.exit_code == 0, said.output
    assert "0 of 16 weights found by name" in said.output
    assert "12 with another beginning: state_dict.model.encoder.blocks.0.0.bias as blocks.0.0.bias" in said.output
    assert "4 not in the file, drawn from the seed: head.1.bias" in said.output
    assert "1 running statistics of BatchNorm, unused" in said.output
    lines = "\n".join(line for line in said.output.splitlines() if line.startswith("init"))
    study, _ = begun(tmp_path, lines)
    assert study.model.init_sha256 == hashlib.sha256((tmp_path / "init.safetensors").read_bytes()).hexdigest()
    layout, weights = start_of(study, tmp_path)
    found = layout.split(weights)
    assert (found["blocks.0.0.bias"] == theirs["model.encoder.blocks.0.0.bias"].numpy()).all()
    assert (found["head.3.bias"] == network.state_dict()["head.3.bias"].numpy()).all()


def test_names_that_are_all_different_need_a_map(tmp_path: Path) -> None:
    network = network_of(parse_study(MINIMAL))
    file = written(
        tmp_path, {f"c{name}": tensor for name, tensor in network.state_dict().items() if name.endswith("s")}
    )
    common = (file, "--study", tmp_path / "study.toml", "--out", tmp_path / "init.safetensors")
    refused = konsil(*common, "--map", "state_dict.nothing")
    assert "expected OLD=NEW" in str(refused.exception)
    mapped = konsil(*common, "--map", "state_dict.cblocks=blocks", "--map", "state_dict.chead=head")
    assert mapped.exit_code == 0, mapped.output
    assert "8 of 16 weights found by name" in mapped.output


def test_a_file_without_any_of_them_writes_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, {"unheard.of": torch.zeros(3)})
    said = konsil(file, "--study", tmp_path / "study.toml", "--out", tmp_path / "init.safetensors")
    assert "expected weights of the study's model, got none that fit" in str(said.exception)
    assert not (tmp_path / "init.safetensors").exists()
