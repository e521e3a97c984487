"""The liver of one series as readers outline it: a DICOM segmentation or an RT structure set, drawn on its slices.

Guarantees: either encloses exactly the voxels of the scan's `liver`, in the frame of reference of the slices, and names
the series that it is drawn on.
"""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from simulations.ct.scan import Scan
from simulations.ct.segmentation import segment
from simulations.ct.structures import contour
from simulations.headers import Encounter, described, uid_of
from simulations.profiles import Profile

#: What the one segment or region is called.
LIVER = "liver"


def outline_of(profile: Profile, seed: int, who: Encounter, found: Scan, slices: Sequence[Dataset]) -> Dataset:
    """The liver on `slices`, those of `found` from feet to head, in the kind of object that this hospital keeps."""
    names = str(who.patient), str(who.study)
    dataset = described(profile, seed, who, number=1, uid=uid_of(profile, seed, *names, "outline"), seconds=0)
    dataset.SeriesInstanceUID = uid_of(profile, seed, *names, "outlines")
    dataset.SeriesNumber, dataset.SeriesDescription = 3, "OUTLINES"
    dataset.ManufacturerModelName, dataset.DeviceSerialNumber, dataset.SoftwareVersions = "Outliner", "1", "1"
    dataset.FrameOfReferenceUID = slices[0].FrameOfReferenceUID
    dataset.PositionReferenceIndicator = ""
    draw = segment if profile.ct.outlined == "SEG" else contour
    draw(dataset, found, slices, LIVER)
    return dataset
