"""The simulated hospitals: their scanners and the patients they see, unlike in every way that hospitals are.

One each of native, RLE, JPEG-LS and JPEG 2000 pixels; both polarities; 10 to 16 bits; oblong matrices and pixels;
a rescale and every linear window function. After the canonical transform they should look alike.
"""

from dataclasses import dataclass
from typing import Literal

from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from simulations.ct.scanners import SCANNERS, Scanner


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One hospital's scanners and its patients; up to `noise`, of radiographs."""

    name: str
    manufacturer: str
    model: str
    modality: Literal["CR", "DX"]
    bits_stored: int
    photometric: Literal["MONOCHROME1", "MONOCHROME2"]
    #: rows, columns; and the distances between them in mm
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float]
    syntax: str
    #: shares of the stored range that attenuation 0 and 1 reach, before MONOCHROME1 turns them round
    stored_range: tuple[float, float]
    #: slope, intercept
    rescale: tuple[float, float] | None = None
    #: attenuation that the header's window shows as white; 0 is black
    window_top: float
    window_function: Literal["LINEAR", "LINEAR_EXACT"] = "LINEAR"
    #: standard deviation of the detector's noise, in attenuation
    noise: float
    women: float
    #: youngest and oldest, in years
    age: tuple[int, int]
    #: share of patients with nodules, and with an effusion where CT is drawn
    prevalence: float
    #: fewest and most studies of a patient, and images of a study
    studies: tuple[int, int]
    images: tuple[int, int]
    #: for CT, where all above that speaks of radiographs does not count
    ct: Scanner


ALDER = Profile(
    name="alder",
    manufacturer="Alder Medical",
    model="Ray 16",
    modality="DX",
    bits_stored=16,
    photometric="MONOCHROME2",
    matrix=(256, 256),
    spacing_mm=(1.56, 1.56),
    syntax=ExplicitVRLittleEndian,
    stored_range=(0.05, 0.95),
    window_top=0.85,
    noise=0.010,
    women=0.50,
    age=(35, 80),
    prevalence=0.42,
    studies=(1, 2),
    images=(1, 2),
    ct=SCANNERS["alder"],
)

BIRCH = Profile(
    name="birch",
    manufacturer="Birch Imaging",
    model="Plate 10",
    modality="CR",
    bits_stored=10,
    photometric="MONOCHROME1",
    matrix=(256, 320),
    spacing_mm=(1.60, 1.28),
    syntax=RLELossless,
    stored_range=(0.10, 0.90),
    window_top=0.80,
    noise=0.018,
    women=0.42,
    age=(45, 90),
    prevalence=0.50,
    studies=(1, 2),
    images=(1, 2),
    ct=SCANNERS["birch"],
)

CEDAR = Profile(
    name="cedar",
    manufacturer="Cedar Systems",
    model="Flat 14",
    modality="DX",
    bits_stored=14,
    photometric="MONOCHROME2",
    matrix=(288, 264),
    spacing_mm=(1.40, 1.40),
    syntax=JPEGLSLossless,
    stored_range=(0.02, 0.60),
    rescale=(0.5, -512.0),
    window_top=0.90,
    window_function="LINEAR_EXACT",
    noise=0.008,
    women=0.55,
    age=(20, 70),
    prevalence=0.35,
    studies=(1, 3),
    images=(1, 2),
    ct=SCANNERS["cedar"],
)

DOGWOOD = Profile(
    name="dogwood",
    manufacturer="Dogwood & Sons",
    model="Beam 12",
    modality="CR",
    bits_stored=12,
    photometric="MONOCHROME1",
    matrix=(224, 224),
    spacing_mm=(1.80, 1.80),
    syntax=JPEG2000Lossless,
    stored_range=(0.15, 0.85),
    window_top=0.82,
    noise=0.014,
    women=0.60,
    age=(50, 90),
    prevalence=0.45,
    studies=(1, 1),
    images=(1, 4),
    ct=SCANNERS["dogwood"],
)

PROFILES = {profile.name: profile for profile in (ALDER, BIRCH, CEDAR, DOGWOOD)}
