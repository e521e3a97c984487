import zipfile
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from client.dicom.item import Location
from client.dicom.keys import short_key
from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Grid
from client.dicom.labels.masks import load_masks, mask_on, read_masks
from client.dicom.writing import derived_uid, write_object
from tests.client.dicom.labels.structures import structure_set

KEY = b"k" * 32
MASK = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.uint8)
GRID = Grid((0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1), (1, 3, 4), derived_uid("frame"))


def series_key(name: str) -> bytes:
    return short_key(KEY, "series", derived_uid("series", name).encode())


@pytest.fixture
def folder(tmp_path: Path, make: Callable[..., Dataset]) -> Path:
    """A segmentation of series a, a structure set of series b, a damaged segmentation, an image, a note."""
    image = make(MASK.astype(np.uint16), SOPClassUID=CTImageStorage, SeriesInstanceUID=derived_uid("series", "a"))
    image.Modality, image.FrameOfReferenceUID = "CT", derived_uid("frame")
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [1, 1], 1
    image.StudyID = image.StudyDate = image.StudyTime = image.ReferringPhysicianName = None
    image.PatientBirthDate = image.PatientSex = image.PositionReferenceIndicator = None
    tumour = hd.seg.SegmentDescription(
        1, "Tumor", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm, "MANUAL"
    )
    seg = hd.seg.Segmentation(
        [image], MASK[None], "BINARY", [tumour], derived_uid("seg"), 1, derived_uid("seg", "1"), 1, "T", "T", "1", "1"
    )
    write_object(tmp_path / "1-seg.dcm", seg)
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    drawn = structure_set([("Tumor", [corners])], series=derived_uid("series", "b"))
    write_object(tmp_path / "2-rtstruct.dcm", drawn)
    data = (tmp_path / "1-seg.dcm").read_bytes()
    (tmp_path / "3-damaged.dcm").write_bytes(data[:700])
    write_object(tmp_path / "4-image.dcm", image)
    (tmp_path / "5-note.txt").write_text("Tumor")
    return tmp_path


def test_files_find_their_series(folder: Path) -> None:
    masks = read_masks(folder, KEY)
    (ours,) = masks.of(series_key("a"))
    assert (ours.number, ours.labels) == (1, ("Tumor",))
    assert np.array_equal(mask_on(GRID, ours.load(), "Tumor")[0], MASK > 0)
    (other,) = masks.of(series_key("b"))
    assert mask_on(GRID, other.load(), "Tumor")[0].astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert masks.of(series_key("c")) == ()


def test_what_did_not_join_is_reported(folder: Path) -> None:
    masks = read_masks(folder, KEY)
    report = masks.report([series_key("a"), series_key("c")])
    assert (report.files, report.joined, report.labels) == (3, 1, {"Tumor": 1})
    assert report.unjoined == {MaskFault.NO_SERIES: (2,), MaskFault.UNREADABLE: (3,)}
    assert report.sentences() == (
        "1 of 3 files with masks: drawn on a series that is not in the archive.",
        "1 of 3 files with masks: damaged, or not what it says it is.",
    )
    told = repr(masks) + repr(report)
    assert not any(text in told for text in (str(folder), "rtstruct", derived_uid("series", "a")))


def test_masks_in_a_zip(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("zips")
    with zipfile.ZipFile(place / "masks.zip", "w") as packed:
        packed.write(folder / "1-seg.dcm", "deep/1-seg.dcm")
    for where in (place, place / "masks.zip"):
        (source,) = read_masks(where, KEY).of(series_key("a"))
        assert np.array_equal(mask_on(GRID, source.load(), "Tumor")[0], MASK > 0)


def test_a_picture_is_loaded_by_what_is_in_it(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "mask.xyz", format="PNG")
    assert load_masks(Location(tmp_path / "mask.xyz")).labels == ("1",)


@pytest.mark.parametrize(
    ("name", "labels"),
    [("rtstruct.dcm", ("Isocenter 1", "Isocenter 2", "patient")), ("liver_1frame.dcm", ("Liver",))],
)
def test_objects_others_wrote(name: str, labels: tuple[str, ...]) -> None:
    path = get_testdata_file(name)
    if path is None:
        pytest.skip(f"pydicom ships no {name}")
    assert load_masks(Location(Path(str(path)))).labels == labels


def test_what_is_neither_object_nor_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("Tumor")
    with pytest.raises(MaskError, match="unreadable"):
        load_masks(Location(tmp_path / "note.txt"))
