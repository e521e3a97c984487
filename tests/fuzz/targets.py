"""Every decoder that reads bytes from outside, by name."""

from tests.fuzz.dicom_files import ARCHIVE_TARGETS
from tests.fuzz.dicom_pixels import PIXEL_TARGETS
from tests.fuzz.doors import DOOR_TARGETS
from tests.fuzz.engine import Target
from tests.fuzz.files import FILE_TARGETS
from tests.fuzz.images import IMAGE_TARGETS
from tests.fuzz.leaving import LEAVING_TARGETS
from tests.fuzz.looking import QUALITY_TARGETS
from tests.fuzz.masks import MASK_TARGETS
from tests.fuzz.peers import PEER_TARGETS
from tests.fuzz.protocol import PROTOCOL_TARGETS
from tests.fuzz.pulling import PULLING_TARGETS
from tests.fuzz.records import record_targets
from tests.fuzz.weights import WEIGHT_TARGETS


def targets() -> dict[str, Target]:
    """All of them, by name. Raises ValueError for two of one name: one of them would never run."""
    found = (
        *record_targets(),
        *PROTOCOL_TARGETS,
        *FILE_TARGETS,
        *IMAGE_TARGETS,
        *ARCHIVE_TARGETS,
        *PIXEL_TARGETS,
        *MASK_TARGETS,
        *LEAVING_TARGETS,
        *PULLING_TARGETS,
        *PEER_TARGETS,
        *QUALITY_TARGETS,
        *DOOR_TARGETS,
        *WEIGHT_TARGETS,
    )
    named = {target.name: target for target in found}
    if len(named) < len(found):
        raise ValueError(f"expected {len(found)} names of targets, got {len(named)}")
    return named
