"""What stands in for the release of a private sum (client/privacy/release.py) in an audit, and nowhere else.

Guarantees none: that is what they are for. An audit that does not alarm with them would not notice a broken one.
"""

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from client.privacy.release import release
from client.privacy.stream import SecureStream
from client.training.private import Release
from shared.mechanism import Mechanism


def bare(total: NDArray[np.float64], mechanism: Mechanism, _stream: SecureStream) -> NDArray[np.int64]:
    """The integers of `total` [d] without any noise."""
    return np.rint(total / mechanism.grid).clip(-mechanism.limit, mechanism.limit).astype(np.int64)


def with_share(share: float) -> Release:
    """The real release, of so large a share of the noise that is promised."""

    def less(total: NDArray[np.float64], mechanism: Mechanism, stream: SecureStream) -> NDArray[np.int64]:
        return release(total, replace(mechanism, noise_multiplier=share * mechanism.noise_multiplier), stream)

    return less
