"""Masks from RT structure sets (PS3.3 A.19 and C.8.8.6): closed planar contours, filled at the voxels' centres.

Guarantees: a contour goes to the slice nearest to its plane, if that is at most half a step away, whichever way the
grid is turned; contours in one plane are filled by the even-odd rule, so one within another is a hole; open contours
and points enclose nothing. The frame of reference must be the images'.

    contours_of(dataset).on(grid, "GTV")   # bool [slices, rows, columns]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from client.dicom.labels.faults import MaskError, MaskFault
from client.dicom.labels.grid import Floats, Grid, Mask
from client.dicom.labels.objects import guarded
from client.dicom.labels.polygons import Points, fill
from client.dicom.labels.segments import series_of
from client.dicom.plain import plain
from client.dicom.reasons import LeftOutError

#: Corners of all contours of one structure set.
POINTS_LIMIT = 1 << 23
#: Steps of the grid by which the corners of a contour may leave its plane, and planes of one slice differ.
FLAT = 0.1

#: Further away is no patient.
FARTHEST_MM = 1e5

#: Contour Geometric Type (3006,0042)
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_CONTOUR_DATA = 0x30060050


@dataclass(frozen=True, eq=False)
class Region:
    """One region of interest: `contours` in its `frame_of_reference`, each [points, 3], LPS mm."""

    frame_of_reference: str = field(repr=False)
    contours: tuple[Floats, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Contours:
    """`regions`: ROI Name → its regions (several may share a name); `series`: UIDs of those it was drawn on."""

    regions: Mapping[str, tuple[Region, ...]]
    series: tuple[str, ...] = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its regions, sorted."""
        return tuple(sorted(self.regions))

    def on(self, grid: Grid, label: str, drawn_every_mm: float | None = None) -> Mask:
        """bool [slices, rows, columns]: where the regions called `label` are. Raises MaskError.

        `drawn_every_mm`: distance of the images they were drawn on, where the grid is finer; a plane then speaks for
        half of that.
        """
        if label not in self.regions:
            raise MaskError(MaskFault.NO_LABEL)
        mask = np.zeros(grid.shape, np.bool_)
        for region in self.regions[label]:
            grid.require_frame(region.frame_of_reference)
            mask |= _filled(region.contours, grid, drawn_every_mm)
        return mask


def _filled(contours: tuple[Floats, ...], grid: Grid, drawn_every_mm: float | None) -> Mask:
    mask = np.zeros(grid.shape, np.bool_)
    if not contours:
        return mask
    inverse = np.linalg.inv(grid.matrix)
    indices = [points @ inverse[:3, :3].T + inverse[:3, 3] for points in contours]  # [points, slice, row and column]
    axis = _axis(indices)
    step = float(np.linalg.norm(grid.matrix[:3, axis]))
    half = max(1.0, (drawn_every_mm or 0) / step) / 2
    planes = _planes(indices, axis)
    places = np.array(list(planes))
    turned = np.moveaxis(mask, axis, 0)  # a view: [planes, and the two other axes]
    for number in range(len(turned)):
        away = number - places
        near = np.flatnonzero((away >= -half - FLAT / 100) & (away < half - FLAT / 100))
        if len(near):
            nearest = places[near[np.argmin(np.abs(away[near]))]]
            turned[number] = fill(planes[float(nearest)], turned.shape[1:])
    return mask


def _axis(indices: list[Floats]) -> int:
    """The axis of the grid across which all contours lie flat. Raises MaskError(other_plane)."""
    spread = np.max([np.ptp(points, axis=0) for points in indices], axis=0)
    axis = int(np.argmin(spread))
    if spread[axis] > FLAT:
        raise MaskError(MaskFault.OTHER_PLANE)
    return axis


def _planes(indices: list[Floats], axis: int) -> dict[float, list[Points]]:
    """Place along `axis` → the polygons there, in the two other axes; places that hardly differ are one."""
    planes: dict[float, list[Points]] = {}
    last = -np.inf
    for place, points in sorted(((float(points[:, axis].mean()), points) for points in indices), key=lambda it: it[0]):
        if place - last > FLAT:
            last = place
        planes.setdefault(last, []).append(np.delete(points, axis, axis=1))
    return planes


def contours_of(dataset: Dataset) -> Contours:
    """The structure set in `dataset`. Raises MaskError (unreadable, too_large)."""
    try:
        with guarded():
            return _contours_of(dataset)
    except LeftOutError as left_out:
        raise MaskError(MaskFault.of(left_out.reason)) from None


def _contours_of(dataset: Dataset) -> Contours:
    drawn = {
        int(roi.ReferencedROINumber): tuple(
            _points(contour)
            for contour in roi.get("ContourSequence") or ()
            if contour.get("ContourGeometricType") in _CLOSED
        )
        for roi in dataset.get("ROIContourSequence") or ()
    }
    if sum(len(points) for contours in drawn.values() for points in contours) > POINTS_LIMIT:
        raise MaskError(MaskFault.TOO_LARGE)
    regions: dict[str, tuple[Region, ...]] = {}
    for roi in dataset.get("StructureSetROISequence") or ():
        name = plain(roi.get("ROIName")).strip()
        region = Region(plain(roi.get("ReferencedFrameOfReferenceUID")), drawn.get(int(roi.ROINumber), ()))
        if name:
            regions[name] = (*regions.get(name, ()), region)
    return Contours(regions, series_of(dataset))


def _points(contour: Dataset) -> Floats:
    """Contour Data (3006,0050), [points, 3] LPS mm; straight from the text: pydicom's decimals take a hundred times as
    long. Raises ValueError."""
    element = contour.get_item(_CONTOUR_DATA)
    if isinstance(element, RawDataElement):
        values = np.array((element.value or b"").decode("ascii").strip(" \0").split("\\"), dtype=np.float64)
    else:
        values = np.array(contour.ContourData, dtype=np.float64)
    if not (np.abs(values) <= FARTHEST_MM).all():  # neither is one that is no number
        raise ValueError("places of this world")
    return values.reshape(-1, 3)
