"""What may leave the archive: hostile objects, de-identified; with identities planted, of which none may be left."""

import contextlib
import warnings
from pathlib import Path
from random import Random

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from client.dicom.deident.burned_in import held_back
from client.dicom.deident.engine import deidentify
from client.dicom.deident.export import encoded
from client.dicom.deident.profile import Option, Profile
from client.dicom.deident.reading import read_whole
from client.dicom.item import Location
from client.dicom.reasons import LeftOutError
from client.dicom.scanning.unusual import MALFORMED
from tests.client.dicom.deident.conftest import leaks
from tests.fuzz.apart import Apart
from tests.fuzz.dicom_files import KEY, all_seeds, picked
from tests.fuzz.dicom_seeds import WORDS
from tests.fuzz.engine import Decoder, Target

#: In no seed, and long enough to stand nowhere by chance.
NAME, NUMBER = "Zwetschkenbaum^Quirinus", "QZX-4711998"
PLANTED = ("Zwetschkenbaum", "Quirinus", "QZX-4711998", "4711998")
#: Where copies are put: the standard's text, bytes and persons, private elements, odd groups; none that says how to
#: read the pixels, and not Modality or Image Type, which the sweep spares.
PLACES = (
    (0x00081030, "LO"), (0x0008103E, "LO"), (0x00084000, "LT"), (0x00102160, "SH"), (0x00104000, "LT"),
    (0x00181030, "LO"), (0x00180015, "CS"), (0x00204000, "LT"), (0x00280300, "CS"), (0x00321060, "LO"),
    (0x00400254, "LO"), (0x0040A160, "UT"), (0x0040A123, "PN"), (0x00700004, "CS"), (0x00091010, "LO"),
    (0x00110099, "UN"), (0x00291010, "OB"), (0x60000022, "LO"), (0x60003000, "OW"), (0x50003000, "OW"),
    (0x00282000, "OB"), (0x00420011, "OB"), (0x00080081, "ST"), (0x00081010, "SH"), (0x00101234, "LO"),
    (0x0040E001, "ST"), (0x00081070, "PN"), (0x00189004, "CS"), (0x00081190, "UR"), (0x00020016, "AE"),
)  # fmt: skip
PROFILES = (
    Profile(),
    Profile(frozenset(Option) - {Option.FULL_DATES}),
    Profile(frozenset({Option.SAFE_PRIVATE, Option.STRUCTURED, Option.GRAPHICS, Option.FULL_DATES})),
)


def plant(dataset: Dataset, random: Random) -> None:
    """The identities, and copies of them here and there, in items too."""
    dataset[0x00100010] = DataElement(0x00100010, "PN", NAME)
    dataset[0x00100020] = DataElement(0x00100020, "LO", NUMBER)
    levels = [dataset]
    with contextlib.suppress(OSError, *MALFORMED):
        for element in dataset:
            if element.VR == "SQ":
                levels += element.value
    for tag, vr in random.sample(PLACES, 8):
        text = random.choice((f"of {NAME}", NUMBER, PLANTED[0].upper(), f"x{PLANTED[0]}y", NAME.replace("^", " ")))
        value: object = text.encode() + b"\0" * (len(text) % 2) if vr in ("OB", "OW", "UN") else text
        random.choice(levels)[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)


def _leaving(folder: Path) -> Decoder:
    path = folder / "input.dcm"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = read_whole(Location(path))
        with contextlib.suppress(LeftOutError):
            held_back(source)
        random = Random(data)  # noqa: S311  hostile, not secret
        # an object into which pydicom can put nothing stays as it is
        with warnings.catch_warnings(), contextlib.suppress(OSError, *MALFORMED):
            warnings.simplefilter("ignore")
            plant(source, random)
        safe = deidentify(source, PROFILES[picked(data, len(PROFILES))], key=KEY)
        found = leaks(encoded(safe), PLANTED)
        if found:
            raise AssertionError(f"left: {found}")

    return Decoder(read, all_seeds(), "dicom", WORDS, (LeftOutError,), extra_mb=400, slow_s=5.0, apart=Apart())


_DEIDENT = "client/dicom/deident/"
LEAVING_TARGETS = (
    Target(
        "DICOM de-identified",
        _leaving,
        0.4,
        tuple(
            f"{_DEIDENT}{name}.py"
            for name in ("engine", "elements", "sweep", "identifiers", "reading", "export", "burned_in")
        ),
    ),
)
