"""The door from files to tensors, on real data: what a PACS rewrote is still the same tensor."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from client.dicom.canonical import canonical
from client.dicom.item import Location
from client.dicom.items import choose_items
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.entry import Entry, place_of
from client.dicom.scanning.refresh import refresh
from client.dicom.scanning.walk import base_of
from client.dicom.targets.base import NOTHING
from shared.study import Input

ARCHIVE = Path(__file__).parents[4] / "shared" / "data" / "dicom" / "agfa_reexport.zip"
KEY = b"k" * 32

Window = Literal["file", "percentile"] | tuple[float, float]
#: Of each tensor: file names and frames that it is made of → SHA-256.
Tensors = Mapping[tuple[tuple[str, int], ...], str]

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not ARCHIVE.exists(), reason="../shared/data/dicom is not here"),
]


def located(entry: Entry) -> Location:
    """Where an entry's bytes lie: in the zip."""
    return place_of(KEY, entry).location(base_of(ARCHIVE))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Entry]]:
    """The files of the two series, by their folder in the zip: Siemens, as scanned, and Agfa, as re-exported."""
    found: dict[str, list[Entry]] = {}
    with Catalog.of(ARCHIVE, tmp_path_factory.mktemp("home")) as catalog:
        refresh(ARCHIVE, catalog, key=KEY)
        for entry in (one for one in catalog.entries() if not one.fault):
            found.setdefault(Path(located(entry).member).parent.name, []).append(entry)
    return found


def tensors(entries: list[Entry], spec: Input) -> Tensors:
    """What a study with `spec` makes of one series, all of it."""
    chosen = choose_items(entries, spec, NOTHING, located)
    assert not chosen.left_out
    return {
        tuple((Path(part.location.member).name, part.frame) for part in item.parts): hashlib.sha256(
            canonical(item, spec).tobytes()
        ).hexdigest()
        for item in (candidate.item for candidate in chosen.candidates)
    }


@pytest.mark.parametrize("window", ["file", "percentile", (300.0, 600.0)])
@pytest.mark.parametrize("kind", ["image", "volume"])
def test_what_a_pacs_rewrote_is_the_same_tensor(
    series: Mapping[str, list[Entry]], kind: Literal["image", "volume"], window: Window
) -> None:
    """Four mosaics of 25 tiles: as many images, and four volumes."""
    spec = Input(modalities=("MR",), size=(64, 64) if kind == "image" else (32, 64, 64), kind=kind, window=window)
    original, copy = tensors(series["Siemens"], spec), tensors(series["Agfa"], spec)
    assert len(original) == {"image": 4 * 25, "volume": 4}[kind]
    assert len(set(original.values())) == len(original)  # no two alike, so no mix-up goes unseen
    assert original == copy
