"""DICOM pixels: from a file to the canonical tensor of an image, a stack, a volume; codestreams; what quality sees.

The decoders of C and C++ run apart, as client/dicom/crew.py has them.
"""

import contextlib
import itertools
from pathlib import Path

import numpy as np

from client.dicom.canonical import canonical
from client.dicom.deident.streams import without_comments
from client.dicom.item import Item, Location, Part
from client.dicom.items import choose_items
from client.dicom.pixels.codestream import described
from client.dicom.pixels.decoders import decode_frame
from client.dicom.pixels.fragments import frame_of
from client.dicom.pixels.layout import Layout
from client.dicom.pixels.objects import open_object
from client.dicom.pixels.stored import stored_frame
from client.dicom.pixels.syntaxes import DECODERS
from client.dicom.quality.looking import Task, _answer
from client.dicom.reasons import LeftOutError, Reason
from client.dicom.scanning.containers import stamp
from client.dicom.scanning.entry import Entry, place_of
from client.dicom.scanning.reading import read_entry
from client.dicom.scanning.unusual import MALFORMED
from client.dicom.scanning.walk import File
from client.dicom.targets.base import NOTHING
from shared.study import Input
from shared.wire import pack
from tests.client.dicom.geometry.series import encoded, line, series
from tests.fuzz.apart import Apart
from tests.fuzz.dicom_files import KEY, all_seeds, picked
from tests.fuzz.dicom_seeds import WORDS, pixel_seeds, placed_seeds, real_seeds
from tests.fuzz.elements import PIXELS, SYNTAX, parse
from tests.fuzz.engine import Decoder, Target

MODALITIES = ("CT", "MR", "DX", "NM", "RTDOSE", "OT", "US")
IMAGES = (
    Input(modalities=MODALITIES, size=(16, 16)),
    Input(modalities=MODALITIES, size=(8, 24), window="percentile", spacing=(0.7, 1.3)),
    Input(modalities=MODALITIES, size=(16, 16), color=True, window=(40.0, 400.0)),
)
VOLUMES = (
    Input(modalities=MODALITIES, size=(8, 8, 8), kind="volume"),
    Input(modalities=MODALITIES, size=(8, 8, 8), kind="volume", spacing=(1.0, 1.0, 1.0), window="percentile"),
    Input(modalities=MODALITIES, size=(8, 8), kind="stack", neighbours=1),
    Input(modalities=MODALITIES, size=(8, 8), kind="stack", neighbours=2, spacing=(1.0, 1.0), window=(40.0, 400.0)),
)
#: Frames of an object, and tensors of a series, that are tried.
TRIED = 3


def _checked(item: Item, spec: Input) -> None:
    tensor = canonical(item, spec)
    whole = tensor.dtype == np.float32 and tensor.shape == spec.shape and bool(np.isfinite(tensor).all())
    if not whole or float(tensor.min()) < 0 or float(tensor.max()) > 1:
        raise AssertionError(f"no tensor: {tensor.dtype} {tensor.shape}, {tensor.min()} to {tensor.max()}")


def _image(folder: Path) -> Decoder:
    """A frame of a file, whatever the rules of the scan say of it."""
    path = folder / "input.dcm"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        part = Part(Location(path), stamp(Location(path)), picked(data, 8) // 5)
        _checked(Item(bytes(16), (part,)), IMAGES[picked(data, len(IMAGES))])

    return Decoder(read, all_seeds(), "dicom", WORDS, (LeftOutError,), extra_mb=800, slow_s=5.0, apart=Apart())


def _look(folder: Path) -> Decoder:
    """As the quality report looks at a file."""
    path = folder / "input.dcm"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        pack(_answer(Task(0, Part(Location(path), stamp(Location(path))), "DX")))

    return Decoder(read, all_seeds(), "dicom", WORDS, (), extra_mb=800, slow_s=5.0, apart=Apart())


def _series(folder: Path) -> Decoder:
    """A file beside four good slices of a series: what a study makes of them."""
    archive = folder / "archive"
    archive.mkdir()
    good = [encoded(dataset) for dataset in series(line(4))]
    for number, data in enumerate(good):
        (archive / f"{number}.dcm").write_bytes(data)
    entries = [read_entry(archive, KEY, File(f"{number}.dcm")) for number in range(len(good))]

    def read(data: bytes) -> None:
        (archive / "input.dcm").write_bytes(data)
        entry = read_entry(archive, KEY, File("input.dcm"))
        if entry.fault:
            raise LeftOutError(Reason(entry.fault))
        spec = VOLUMES[picked(data, len(VOLUMES))]

        def locate(one: Entry) -> Location:
            return place_of(KEY, one).location(archive)

        chosen = choose_items([*entries, entry], spec, NOTHING, locate)
        if {file for each in chosen.candidates for file in each.files} & chosen.left_out.keys():
            raise AssertionError("a file that is used and left out")
        for candidate in itertools.islice((one for one in chosen.candidates if entry.file in one.files), TRIED):
            with contextlib.suppress(LeftOutError):
                _checked(candidate.item, spec)

    seeds = (*good, *placed_seeds(), *real_seeds())
    return Decoder(read, seeds, "dicom", WORDS, (LeftOutError,), extra_mb=800, slow_s=5.0, apart=Apart())


def _frame(_: Path) -> Decoder:
    """The bytes of one compressed frame, after one that names the syntax; the header fits, so that decoders see it."""
    syntaxes = [syntax for syntax, decoder in DECODERS.items() if decoder]

    def read(data: bytes) -> None:
        syntax, frame = syntaxes[data[0] % len(syntaxes)] if data else syntaxes[0], data[1:]
        with contextlib.suppress(LeftOutError):
            without_comments(
                b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + len(frame).to_bytes(4, "little") + frame, syntax
            )
        decode_frame(DECODERS[syntax], frame, _layout(syntax, frame))

    seeds = [bytes([syntaxes.index(syntax)]) + frame for syntax, frame in _codestreams() if syntax in syntaxes]
    allowed = (LeftOutError, OSError, *MALFORMED)  # what stored.py turns into a reason
    return Decoder(read, seeds, "bytes", (b"\xff\xd9", b"\xff\x4f", b"\xff\x64"), allowed, 800, 5.0, Apart())


def _layout(syntax: str, frame: bytes) -> Layout:
    """The layout of which `frame` speaks; 8 × 8 grey bytes where it says nothing."""
    rows = columns = bits = 8
    samples, signed = 1, False
    if DECODERS[syntax] not in ("rle", "zlib"):
        code = described(frame)
        rows, columns, samples, bits, signed = code.rows, code.columns, code.components, code.precision, code.signed
    allocated = 8 if bits <= 8 else 16
    if rows * columns * samples * allocated // 8 > 1 << 26 or samples not in (1, 3):
        raise ValueError("a frame of a size to try")
    photometric = "MONOCHROME2" if samples == 1 else "YBR_FULL" if DECODERS[syntax] != "openjpeg" else "YBR_RCT"
    return Layout(
        syntax, PIXELS, rows, columns, samples, photometric, False, allocated, min(bits, 16), bits - 1, signed, 1
    )


def _codestreams() -> list[tuple[str, bytes]]:
    found = []
    for seed in (*pixel_seeds(), *real_seeds()):
        file = parse(seed)
        syntax = next((node.value for node in file.meta if node.tag == SYNTAX), b"") if file else b""
        for node in file.body if file else ():
            if node.tag == PIXELS and node.undefined:
                with contextlib.suppress(ValueError):
                    found.append((syntax.rstrip(b"\0").decode(), frame_of(node.value, 1, 0)[: 1 << 16]))
    return found


def _parts(_: Path) -> Decoder:
    """Fragments and their tables, and the elements without the scan before them."""

    def read(data: bytes) -> None:
        dataset = open_object(data)
        if DECODERS.get(str(dataset.file_meta.get("TransferSyntaxUID", "")), "x") == "":
            stored_frame(dataset, picked(data, 3))
        for frames, index in ((1, 0), (3, picked(data, 3)), (70000, 69999)):
            with contextlib.suppress(*MALFORMED):
                frame_of(data, frames, index, (data[:512], data[512:1024]))

    seeds = (*pixel_seeds(), *placed_seeds(), *real_seeds())
    return Decoder(read, seeds, "dicom", WORDS, (LeftOutError,), extra_mb=800, slow_s=5.0, apart=Apart())


_PIXELS = "client/dicom/pixels/"
PIXEL_TARGETS = (
    Target(
        "DICOM image",
        _image,
        1.5,
        (
            *(f"{_PIXELS}{name}.py" for name in ("image", "grey", "colour", "intensity", "voi", "lut", "palette")),
            *(f"{_PIXELS}{name}.py" for name in ("stored", "layout", "values", "functional", "spacing", "resample")),
            "client/dicom/decoding.py",
            "client/dicom/canonical.py",
        ),
    ),
    Target(
        "DICOM object", _parts, 1, tuple(f"{_PIXELS}{name}.py" for name in ("objects", "raw", "fragments", "native"))
    ),
    Target(
        "DICOM frame",
        _frame,
        0.4,
        (f"{_PIXELS}decoders.py", f"{_PIXELS}codestream.py", "client/dicom/deident/streams.py"),
    ),
    Target("DICOM series", _series, 1, (f"{_PIXELS}volume.py", "client/dicom/items.py")),
    Target("DICOM look", _look, 0.3, ("client/dicom/quality/looking.py", "client/dicom/quality/view.py")),
)
