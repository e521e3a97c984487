"""Our geometry of the real series equals an independent converter's: dcm2niix, voxel by voxel.

Its affines are RAS and may flip axes, so the eight corner voxels are compared as a set. Where it and the headers
differ, the test says which and why; there we follow the headers.
"""

import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.dicom.geometry.stacks import Stack, stacks
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.header import Header
from tests.client.dicom.geometry.series import Floats, apart, corners, frames_of, header_of_bytes, same_place

DATA = Path(__file__).parents[5] / "shared" / "data" / "dicom"
REFERENCE: dict[str, list[dict[str, Any]]] = (
    json.loads((DATA / "reference_geometry.json").read_text()) if DATA.is_dir() else {}
)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: By what the archive calls them: MOSAIC objects without the private header that holds the tiles' number and order.
#: Their protocol says 50 and 40 slices, the first one on top. dcm2niix takes all 64 tiles of the one upwards, and the
#: other for a picture of 1344 × 1344.
STRIPPED_MOSAICS = {"siemens/fmri/001": (50, 64), "siemens/fmri/001_implicit": (50, 64)}
UNSPLIT_MOSAICS = {"siemens/dti/001": 40, "siemens/dti/001_implicit": 40}
#: dcm2niix writes a tilted series once with a slice axis as long as the distance along the normal, though the table
#: moved further, and once resampled.
TILTED = "tilt"

pytestmark = [pytest.mark.data, pytest.mark.skipif(not REFERENCE, reason="../shared/data/dicom is not here")]


@cache
def objects(archive: str) -> dict[str, dict[bytes, tuple[str, bytes, Header]]]:
    """Of each series: SOP Instance UID → folder, file and header. Files of one object in several syntaxes are one."""
    found: dict[str, dict[bytes, tuple[str, bytes, Header]]] = {}
    with zipfile.ZipFile(DATA / archive) as opened:
        for name in opened.namelist():
            data = opened.read(name)
            try:
                header = header_of_bytes(data)
            except LeftOutError:
                continue  # a text beside the images
            if header.pixels:
                folder = str(Path(name).parent)
                found.setdefault(header.series_uid.decode(), {})[header.sop_uid] = (folder, data, header)
    return found


@cache
def volumes(archive: str, uid: str) -> tuple[str, tuple[Stack, ...]]:
    """The folder of a series in its archive, and its stacks."""
    members = list(objects(archive)[uid].values())
    return members[0][0], stacks([frame for _, data, _ in members for frame in frames_of(data)])


def affine_of(entry: dict[str, Any]) -> Floats:
    return np.asarray(RAS_TO_LPS @ np.array(entry["affine_ras"], dtype=np.float64))


def differs(folder: str) -> bool:
    return folder in STRIPPED_MOSAICS or folder in UNSPLIT_MOSAICS or folder == TILTED


@pytest.mark.parametrize("uid", REFERENCE, ids=[str(place) for place in range(len(REFERENCE))])
def test_every_voxel_lies_where_dcm2niix_puts_it(uid: str) -> None:
    (entry, *_) = REFERENCE[uid]
    folder, found = volumes(entry["archive"], uid)
    if differs(folder):
        pytest.skip("dcm2niix and the headers differ: tested below")
    columns, rows, slices, times = [*entry["shape"], 1][:4]
    assert len(found) == times
    for stack in found:
        assert stack.reason is (None if slices > 1 else Reason.TOO_FEW_SLICES)
        # its axes are columns, rows, slices, or turned so that slices come first
        assert sorted(stack.shape) == sorted((columns, rows, slices))
        # the affines are written with five decimals: 0.003 mm over 512 voxels
        assert same_place(stack, affine_of(entry), (columns, rows, slices)) < 0.01


def test_every_file_is_in_one_volume() -> None:
    for uid, (entry, *_) in REFERENCE.items():
        folder, found = volumes(entry["archive"], uid)
        members = sorted(index for stack in found for index in stack.frames)
        assert members == list(range(len(members))), folder


def test_all_that_differs_is_there() -> None:
    folders = [volumes(entries[0]["archive"], uid)[0] for uid, entries in REFERENCE.items()]
    assert sorted(filter(differs, folders)) == sorted([*STRIPPED_MOSAICS, *UNSPLIT_MOSAICS, TILTED])


def series_in(folder: str) -> tuple[list[dict[str, Any]], tuple[Stack, ...], list[Header]]:
    """Reference entries, stacks and headers of the series in a folder of an archive."""
    for uid, entries in REFERENCE.items():
        archive = entries[0]["archive"]
        if volumes(archive, uid)[0] == folder:
            return entries, volumes(archive, uid)[1], [header for *_, header in objects(archive)[uid].values()]
    raise ValueError(folder)


def test_a_tilted_gantry_is_a_shear() -> None:
    (straight, _), (stack,), headers = series_in(TILTED)
    assert stack.affine is not None
    assert stack.tilt == pytest.approx(18.5, abs=0.01)
    # where its first slice lies we agree; along its slices it is too short by the cosine of the tilt
    theirs = affine_of(straight)
    columns, rows, slices = straight["shape"]
    ours = corners(stack.affine, (1, *stack.shape[1:]))
    assert min(apart(ours, corners(theirs @ at(k), (columns, rows, 1))) for k in (0, slices - 1)) < 0.01
    shortened = np.linalg.norm(theirs[:3, 2]) / np.linalg.norm(stack.affine[:3, 0])
    assert shortened == pytest.approx(np.cos(np.radians(18.5)), abs=1e-4)
    # every slice, the last one too, begins where its file says
    for place, index in enumerate(stack.frames):
        np.testing.assert_allclose((stack.affine @ (place, 0, 0, 1))[:3], headers[index].position or (), atol=1e-3)


def at(slices: int) -> Floats:
    """Moves the origin of an affine along its slices."""
    move = np.eye(4)
    move[2, 3] = slices
    return move


@pytest.mark.parametrize("folder", STRIPPED_MOSAICS)
def test_mosaics_follow_their_protocol_downwards(folder: str) -> None:
    (entry,), found, _ = series_in(folder)
    tiles, theirs = STRIPPED_MOSAICS[folder]
    columns, rows, slices, times = entry["shape"]
    assert (len(found), slices) == (times, theirs)
    for stack in found:
        assert stack.shape == (tiles, rows, columns)
        assert stack.frames == tuple(sorted(stack.frames, reverse=True))  # the first tile is the uppermost slice
        assert stack.affine is not None
        # the first tile lies where dcm2niix has it
        first = corners(stack.affine @ upwards(tiles - 1), (1, rows, columns))
        assert apart(first, corners(affine_of(entry), (columns, rows, 1))) < 0.01
        # the lowest one, in the plan's first place: dTra -59.854 is its middle, half a pixel off our voxels' centres
        middle = stack.affine @ (0, rows / 2, columns / 2, 1)
        assert middle[:3] == pytest.approx((-1.513, -20.561, -59.854), abs=0.01)


def upwards(slices: int) -> Floats:
    """As `at`, for our order of axes."""
    move = np.eye(4)
    move[0, 3] = slices
    return move


@pytest.mark.parametrize("folder", UNSPLIT_MOSAICS)
def test_mosaics_are_split_even_if_only_the_protocol_is_left(folder: str) -> None:
    (entry,), found, _ = series_in(folder)
    assert entry["shape"] == [1344, 1344, 1, 2]
    assert [stack.shape for stack in found] == [(UNSPLIT_MOSAICS[folder], 192, 192)] * 2
    assert all(stack.reason is None for stack in found)


def test_a_pacs_that_rewrote_the_objects_changed_nothing() -> None:
    """The Agfa re-export equals its Siemens original, frame by frame."""
    original, copy = (
        sorted((header.instance_number or 0, frames_of(data)) for _, data, header in members.values())
        for members in objects("agfa_reexport.zip").values()
    )
    assert len(original) == 4
    assert original == copy
