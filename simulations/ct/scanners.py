"""The CT scanners of the simulated hospitals, unlike in every way that scanners and protocols are.

Slices of 3 to 8 mm, with gaps between them or overlapping, sent from the feet or from the head; signed and unsigned
values, with another intercept and with padding around the field; with contrast medium and without; the liver outlined
in a segmentation or in a structure set.
"""

from dataclasses import dataclass
from typing import Literal

from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """One hospital's scanner, its usual protocol, and how its readers outline an organ."""

    model: str
    #: pixels along each side, and how long the side is
    matrix: int
    field_mm: float
    #: how thick a slice is, and how far the next one lies
    thickness_mm: float
    step_mm: float
    #: whether instance numbers count from the feet
    upwards: bool
    syntax: str
    #: HU of the stored value 0, and stored bits: signed where below zero values are stored
    intercept: float
    bits_stored: int
    signed: bool
    #: stored value outside of the round field, None where all of the square is reconstructed
    padding: int | None
    #: standard deviation of the noise, and sigma of the blur in pixels
    noise_hu: float
    blur: float
    #: by how much contrast medium brightens the liver, least and most
    contrast_hu: tuple[float, float]
    outlined: Literal["SEG", "RTSTRUCT"]


ALDER = Scanner(
    model="Slice 16",
    matrix=128,
    field_mm=360.0,
    thickness_mm=5.0,
    step_mm=5.0,
    upwards=True,
    syntax=ExplicitVRLittleEndian,
    intercept=-1024.0,
    bits_stored=12,
    signed=False,
    padding=None,
    noise_hu=14.0,
    blur=0.6,
    contrast_hu=(40.0, 65.0),
    outlined="SEG",
)

BIRCH = Scanner(
    model="Turn 64",
    matrix=112,
    field_mm=400.0,
    thickness_mm=5.0,
    step_mm=4.0,
    upwards=False,
    syntax=RLELossless,
    intercept=0.0,
    bits_stored=16,
    signed=True,
    padding=-2000,
    noise_hu=20.0,
    blur=0.5,
    contrast_hu=(0.0, 0.0),
    outlined="RTSTRUCT",
)

CEDAR = Scanner(
    model="Volume 32",
    matrix=144,
    field_mm=380.0,
    thickness_mm=8.0,
    step_mm=6.0,
    upwards=True,
    syntax=JPEGLSLossless,
    intercept=-1024.0,
    bits_stored=12,
    signed=False,
    padding=None,
    noise_hu=10.0,
    blur=0.9,
    contrast_hu=(25.0, 60.0),
    outlined="SEG",
)

DOGWOOD = Scanner(
    model="Helix 4",
    matrix=120,
    field_mm=420.0,
    thickness_mm=3.0,
    step_mm=5.0,
    upwards=False,
    syntax=JPEG2000Lossless,
    intercept=-2048.0,
    bits_stored=13,
    signed=False,
    padding=0,
    noise_hu=24.0,
    blur=0.5,
    contrast_hu=(0.0, 45.0),
    outlined="RTSTRUCT",
)

SCANNERS = {"alder": ALDER, "birch": BIRCH, "cedar": CEDAR, "dogwood": DOGWOOD}
