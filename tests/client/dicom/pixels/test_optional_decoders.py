"""What else is installed adds images, and changes none: the tensors of pydicom's 95 files, asked under other
installations, and with a graphics card."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from client.dicom.pixels import decoders, gpu
from client.dicom.pixels.codestream import described
from client.dicom.pixels.decoders import Decoded
from client.dicom.pixels.gpu import Checked
from client.dicom.pixels.layout import Layout
from client.dicom.pixels.native import Cells
from client.dicom.pixels.syntaxes import DECODERS
from tests.client.dicom.pixels.pydicom_files import HASHES, TWELVE_BITS, outcomes

ROOT = Path(__file__).parents[4]
RUN = "import runpy; runpy.run_module('tests.client.dicom.pixels.pydicom_files', run_name='__main__')"

#: No optional decoder, no card, and pydicom itself decodes nothing that is compressed.
BARE = f"""
import sys
sys.modules.update(dict.fromkeys(("libjpeg", "_libjpeg", "pylibjpeg", "nvidia", "itk", "SimpleITK")))
from pydicom.pixels.decoders.base import _PIXEL_DATA_DECODERS
for decoder, _ in _PIXEL_DATA_DECODERS.values():
    for plugin in [*decoder._available, *decoder._unavailable]:
        decoder.remove_plugin(plugin)
    if decoder.is_encapsulated and decoder.is_available:
        raise SystemExit("a decoder is left")
{RUN}
"""

#: Every optional decoder there is, first in pydicom's and pylibjpeg's lists, and each gives black frames.
CROWDED = f"""
import itk, libjpeg
from pydicom.pixels.decoders.base import _PIXEL_DATA_DECODERS
from pylibjpeg.utils import get_pixel_data_decoders
for decoder, _ in _PIXEL_DATA_DECODERS.values():
    if decoder.is_encapsulated:
        if "libjpeg" not in get_pixel_data_decoders(version=2)[decoder.UID]:
            raise SystemExit("a decoder is not registered")
        for plugin in [*decoder._available, *decoder._unavailable]:
            decoder.remove_plugin(plugin)
        decoder.add_plugin("itk", ("itk", "decode"))
{RUN}
"""

#: A decoder of anything, as pydicom's plugins and pylibjpeg's are called: every frame is black.
BLACK = """
__version__, DECODER_DEPENDENCIES = "9.0", {}
def is_available(uid): return True
def decode(src, runner): return bytearray(runner.frame_length(unit="bytes"))
def decode_pixel_data(src, version, **options):
    from client.dicom.pixels.codestream import described
    code = described(src)
    return bytearray(code.rows * code.columns * code.components * 2)
"""

#: nvImageCodec as gpu.py calls it, with a card that gives black frames of 64 × 64, as large as MR_small is.
CARD = """
import sys
import numpy as np
class ColorSpec: UNCHANGED = 0
def DecodeParams(**options): return options
class Decoder:
    def decode(self, data, params):
        print("asked", file=sys.stderr)
        return self
    def cpu(self): return np.zeros((64, 64, 1), np.uint16)
"""


def asked(program: str, *folders: Path) -> tuple[Mapping[str, str], str]:
    """The outcomes, and what was said on stderr, of a process that begins with `program`; `folders` are found first."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: Mapping[str, str] = json.loads(done.stdout)
    return found, done.stderr


@pytest.fixture
def crowd(tmp_path: Path) -> Path:
    """A folder of installed distributions: pylibjpeg-libjpeg for every compressed syntax, itk, nvImageCodec."""
    for name in ("libjpeg", "_libjpeg", "itk"):
        (tmp_path / f"{name}.py").write_text(BLACK)
    (tmp_path / "nvidia").mkdir()
    (tmp_path / "nvidia" / "__init__.py").touch()
    (tmp_path / "nvidia" / "nvimgcodec.py").write_text(CARD)
    registered = tmp_path / "pylibjpeg_libjpeg-9.0.dist-info"
    registered.mkdir()
    (registered / "METADATA").write_text("Metadata-Version: 2.1\nName: pylibjpeg-libjpeg\nVersion: 9.0\n")
    rows = "".join(f"{syntax} = libjpeg:decode_pixel_data\n" for syntax, name in DECODERS.items() if name)
    (registered / "entry_points.txt").write_text(f"[pylibjpeg.pixel_data_decoders]\n{rows}")
    return tmp_path


def usual(found: Mapping[str, str]) -> Mapping[str, str]:
    """All but the two files that the optional decoder may add."""
    assert len(found) == 95
    assert {name: found[name] for name in HASHES} == HASHES
    return {name: outcome for name, outcome in found.items() if name not in TWELVE_BITS}


def test_the_same_tensors_with_every_optional_decoder_and_with_none(crowd: Path) -> None:
    bare, said = asked(BARE)
    assert said == ""
    crowded, said = asked(CROWDED, crowd)
    assert "asked" in said
    assert "graphics card: other pixels than the pinned decoder's" in said
    assert usual(bare) == usual(crowded) == usual(outcomes())
    assert {bare[name] for name in TWELVE_BITS} == {"unsupported_syntax"}
    assert "unsupported_syntax" not in {crowded[name] for name in TWELVE_BITS}  # it is really there


def test_the_optional_decoder_is_asked_for_twelve_bits_only(monkeypatch: pytest.MonkeyPatch) -> None:
    precisions = []

    def pretend(data: bytes, layout: Layout) -> Cells:
        precisions.append(described(data).precision)
        return np.zeros(layout.pixels * layout.samples, np.uint16)

    monkeypatch.setattr(decoders, "has_libjpeg", lambda: False)
    without = outcomes()
    monkeypatch.setattr(decoders, "has_libjpeg", lambda: True)
    monkeypatch.setattr(decoders, "_libjpeg", pretend)
    with_it = outcomes()
    assert precisions == [12] * len(TWELVE_BITS)
    assert {name for name in without if without[name] != with_it[name]} == TWELVE_BITS


def test_the_same_tensors_with_a_card_that_is_honest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """GDCM plays the card: another decoder, of whose frames each kind is compared once and then believed."""
    without, pinned, card = outcomes(), decoders._BY_NAME["openjpeg"], Checked(_gdcm)
    left: list[bool] = []

    def counted(data: bytes, layout: Layout) -> Decoded:
        left.append(gpu.on_card(layout) is not None)
        return pinned(data, layout)

    monkeypatch.setattr(gpu, "_card", lambda: card)
    monkeypatch.setattr(decoders, "_BY_NAME", {**decoders._BY_NAME, "openjpeg": counted})
    with caplog.at_level(logging.WARNING):
        assert outcomes() == without
        assert sum(left) == 2  # one of 13 bits, one of 16
        assert outcomes() == without
    assert sum(left) == 2
    assert not caplog.records


def _gdcm(data: bytes, layout: Layout) -> Cells:
    return decoders._gdcm(data, layout).cells
