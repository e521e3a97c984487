"""Where one frame lies in the patient, and what tells it from others at the same place: all that geometry needs.

Coordinates are DICOM's (LPS, PS3.3 C.7.6.2.1.1): mm, x towards the patient's left, y to the back, z to the head.
"""

from shared.wire import Record, pack, unpack

Point = tuple[float, float, float]
Directions = tuple[float, float, float, float, float, float]

#: What each value of `Frame.phase` is, the most telling first; stored frames depend on it, so it only grows at its end.
PHASE = (
    "stack",  # Stack ID, and Segment Number
    "dimensions",  # Dimension Index Values, or an NM object's vectors, other than those of place
    "image_type",  # magnitude, phase, water, fat, derived maps
    "echo_time",
    "echo_number",
    "b_value",
    "gradient",  # Diffusion Gradient Orientation
    "temporal",  # Temporal Position
    "trigger",  # delay in the cardiac cycle, in ms
    "acquisition",  # Acquisition Number
    "inversion_time",
    "flip_angle",
    "acquisition_time",  # of day; never the date
    "reference_time",  # Frame Reference Time of PET, in ms
    "frame_of_reference",  # of its UID 8 hexadecimal digits of a hash (values.reference)
    "colour",  # "colour" where a pixel is one, as of three samples; empty for grey
)
#: of PHASE, what frames of one volume always share: two frames of reference are two patients' positions, or two days'.
APART = ("frame_of_reference", "colour")


class Frame(Record, frozen=True):
    """One frame of an object. None: the object does not say, or not in a way that can be used.

    `position`: centre of the first pixel. `orientation`: unit vectors, the direction of growing column index, then of
    growing row index. `spacing`: mm between rows, between columns. `number`: Instance Number, or the place in its
    object, for order where nothing better is known. `phase`: what separates volumes of one series, as texts in the
    order of PHASE, empty where unknown; nothing at all stands for all of them empty.
    """

    rows: int
    columns: int
    position: Point | None = None
    orientation: Directions | None = None
    spacing: tuple[float, float] | None = None
    number: int = 0
    phase: tuple[str, ...] = ()


class Frames(Record, frozen=True):
    """The frames of one object, in its order, as the catalog keeps them."""

    frames: tuple[Frame, ...]


def pack_frames(frames: tuple[Frame, ...]) -> bytes:
    """`frames` for the catalog."""
    return pack(Frames(frames=frames))


def unpack_frames(data: bytes) -> tuple[Frame, ...]:
    """What `pack_frames` packed. Raises PeerError for anything else."""
    return unpack(Frames, data).frames
