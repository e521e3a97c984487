"""Archives of DICOM files: header, places of frames, stacks, the scan, zips: what runs in the process of the scan."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from client.dicom.geometry.csa import elements
from client.dicom.geometry.frame import Frame, pack_frames, unpack_frames
from client.dicom.geometry.frames import MOST_FRAMES, object_frames
from client.dicom.geometry.stacks import stacks
from client.dicom.geometry.values import directions, point, spacing
from client.dicom.item import Location
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning import containers
from client.dicom.scanning.catalog import Catalog
from client.dicom.scanning.header import read_header
from client.dicom.scanning.reading import read_entry
from client.dicom.scanning.rules import fault
from client.dicom.scanning.scan import scan
from client.dicom.scanning.walk import File, listed, pages
from shared.errors import KonsilError, PeerError
from shared.study import Input
from tests.client.dicom.geometry.series import axial
from tests.client.dicom.geometry.siemens import csa1, csa2, protocol
from tests.fuzz.dicom_seeds import WORDS, pixel_seeds, placed_seeds, real_seeds
from tests.fuzz.engine import Decoder, Target

SPEC = Input(modalities=("DX", "CT", "MR"), size=(16, 16))
KEY = bytes(32)
_ZIP_WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"../a.dcm", b"a.zip", b"/")


def all_seeds() -> tuple[bytes, ...]:
    """Every DICOM file there is."""
    return (*pixel_seeds(), *placed_seeds(), *real_seeds())


def _header(folder: Path) -> Decoder:
    path = folder / "input.dcm"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        fault(read_header(path))

    return Decoder(read, all_seeds(), "dicom", WORDS, (LeftOutError,), extra_mb=100)


def _frames(folder: Path) -> Decoder:
    """As the scan finds them; then all that stands in the header, needed or not."""
    path, seeds = folder / "input.dcm", (*placed_seeds(), *real_seeds())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        entry = read_entry(folder, KEY, File(path.name))
        if entry.frames:
            _stacked(unpack_frames(entry.frames))
        dataset = containers.dataset(Location(path))
        frames = object_frames(dataset)
        if len(frames) > MOST_FRAMES or unpack_frames(pack_frames(frames)) != frames:
            raise AssertionError("other frames than were packed")
        _stacked(frames)

    # a header may claim 65,536 frames, each of which gets a place, or none, of its own
    return Decoder(read, seeds, "dicom", WORDS, (LeftOutError,), extra_mb=200, slow_s=6.0)


def _stacked(frames: Sequence[Frame]) -> None:
    """The stacks of `frames`, each of which is in one of them."""
    found = stacks(frames)
    if sorted(index for stack in found for index in stack.frames) != list(range(len(frames))):
        raise AssertionError("a frame in no stack, or in two")
    for stack in found:
        regular = stack.affine is not None and bool((abs(stack.affine) < 1e12).all())
        if stack.reason is None and not regular:
            raise AssertionError("a volume without an affine")


def _stacks(_: Path) -> Decoder:
    """Frames that lie anywhere, within what values.py lets pass."""

    def read(data: bytes) -> None:
        frames = unpack_frames(data)
        if not all(0 < frame.rows < 65536 and 0 < frame.columns < 65536 for frame in frames):
            raise PeerError("frames", expected="a matrix", got="none")
        _stacked([_possible(frame) for frame in frames])

    phased = [
        axial(float(place), 4 * place + time, temporal=time, echo_time=time / 7)
        for place in range(5)
        for time in (1, 2)
    ]
    tilted = [axial(float(place), place, x=place / 3) for place in range(6)]
    gaps = [axial(float(place), place, acquisition=place // 3) for place in (0, 1, 2, 4, 5, 7)]
    twice = [axial(float(place % 4), place, image_type=["M", "P"][place % 2]) for place in range(8)]
    return Decoder(read, [pack_frames(tuple(each)) for each in (phased, tilted, gaps, twice)], "msgpack")


def _possible(frame: Frame) -> Frame:
    return Frame(
        rows=frame.rows,
        columns=frame.columns,
        position=point(frame.position),
        orientation=directions(frame.orientation),
        spacing=spacing(frame.spacing),
        number=max(-(10**18), min(frame.number, 10**18)),
        phase=frame.phase,
    )


def _private(_: Path) -> Decoder:
    """The bytes of a Siemens private header."""
    values = {"NumberOfImagesInMosaic": ["7"], "SliceNormalVector": ["0.0", "0.0", "1.0"], "Other": [""]}

    def read(data: bytes) -> None:
        if sum(map(len, elements(data).values())) > 1024**2:
            raise AssertionError("more texts than a header holds")

    seeds = (csa1(values), csa2(values), csa2({"MrPhoenixProtocol": [protocol([[0, 1, 2], [0, 1, 6]]).decode()]}))
    return Decoder(read, seeds, "bytes", (b"SV10\4\3\2\1", b"M\0\0\0", b"\xcd\0\0\0"), ())


def _scan(folder: Path) -> Decoder:
    """An archive of one file, alone and in a zip, with its catalog; and the scan once more."""
    archive = folder / "archive"
    archive.mkdir()

    def read(data: bytes) -> None:
        containers.close_all()
        (archive / "a.dcm").write_bytes(data)
        (archive / "b.zip").write_bytes(_zipped({"c.dcm": data, "d.dcm": data[::-1]}, zipfile.ZIP_DEFLATED))
        for old in folder.glob("catalog.sqlite*"):
            old.unlink()
        with Catalog(folder / "catalog.sqlite") as catalog:
            first = scan(archive, catalog, key=KEY, spec=SPEC)
            again = scan(archive, catalog, key=KEY, spec=SPEC)
        if first.files != 3 or again.files != 3 or dict(first.skipped) != dict(again.skipped):
            raise AssertionError("a file that counts twice, or not at all")

    return Decoder(read, all_seeds(), "dicom", WORDS, extra_mb=150)


def _zip(folder: Path) -> Decoder:
    """A damaged zip: its members listed, and each read whole, its header, and all before its pixels."""
    path = folder / "a.zip"

    def read(data: bytes) -> None:
        containers.close_all()  # the same file in the same tick of the clock
        path.write_bytes(data)
        (page,) = pages(path)
        for file in listed(page, folder).files:
            if file.fault:
                Reason(file.fault)
                continue
            try:
                location = file.location(folder)
                found = containers.read(location, 1 << 24)
                if len(found) != file.size:
                    raise AssertionError("a member of another size")
                containers.header(location)
                containers.dataset(location)
            except LeftOutError:
                continue

    images = pixel_seeds()[:4]
    members = {f"a/{number}.dcm": data for number, data in enumerate(images)} | {"é.txt": b"no image", "b/": b""}
    seeds = [_zipped(members, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)]
    return Decoder(read, seeds, "bytes", _ZIP_WORDS, (LeftOutError, KonsilError), extra_mb=300)


def _zipped(members: dict[str, bytes], method: int) -> bytes:
    """A zip without a clock."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def picked(data: bytes, number: int) -> int:
    """Below `number`, by the content of `data`."""
    return crc32(data) % number


_SCANNING, _GEOMETRY = "client/dicom/scanning/", "client/dicom/geometry/"
ARCHIVE_TARGETS = (
    Target(
        "DICOM header",
        _header,
        4,
        tuple(f"{_SCANNING}{name}.py" for name in ("elements", "header", "rules", "unusual", "values", "views")),
    ),
    Target(
        "DICOM frames",
        _frames,
        2,
        (
            *(
                f"{_GEOMETRY}{name}.py"
                for name in ("frame", "frames", "enhanced", "mosaic", "vectors", "values", "csa")
            ),
            f"{_SCANNING}reading.py",
        ),
    ),
    Target("DICOM stacks", _stacks, 2, tuple(f"{_GEOMETRY}{name}.py" for name in ("stacks", "phases", "grid"))),
    Target("DICOM private header", _private, 1, (f"{_GEOMETRY}csa.py",)),
    Target(
        "DICOM archive",
        _scan,
        0.3,
        (
            *(f"{_SCANNING}{name}.py" for name in ("scan", "catalog", "refresh", "walk", "entry", "judge")),
            "client/dicom/archive.py",
        ),
    ),
    Target("DICOM zip", _zip, 1, (f"{_SCANNING}containers.py", f"{_SCANNING}opening.py")),
)
