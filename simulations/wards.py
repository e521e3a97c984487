"""Hospitals whose images are made up in memory: as many patients as a test wants, in a moment, and no noise hidden.

Everything else of them is real: homes on disk, keys, policies, ledgers, a signed roster, and `Site`s that speak the
real messages. Guarantees: a patient has the same images in every ward of at least so many patients, so two wards of N
and N + 1 differ by one patient and nothing else.

    >>> ward(3).counts.usable
    30
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.dicom.archive import Counts
from client.home import Home, make_keys
from client.images import Images, Split
from client.privacy.release import release
from client.privacy.stream import SecureStream
from client.site import Site
from client.training.gradients.loop import Loop
from client.workbench import Prepared
from server.federation import create
from shared.mechanism import Mechanism
from shared.reasons import Reason
from shared.study import Study
from simulations.local import LocalFederation

#: Rows and columns of every image, one channel.
SIDE = 8


def ward(patients: int, *, last: int = 2, held_out: int = 6, known: Sequence[int] = ()) -> Prepared:
    """`patients` in training, two images each but for the last, who has `last`; `held_out` in either other part. The
    last ones are those whom the archive knows by the numbers `known`; the others count from 0."""
    everybody = patients + 2 * held_out
    images = np.full(everybody, 2)
    images[-1:] = last if patients else 2
    patient = np.repeat(np.arange(everybody), images)
    pixels = np.random.default_rng(7).random((len(patient), 1, SIDE, SIDE), dtype=np.float32)  # row by row
    split = np.repeat([Split.VALIDATION, Split.TEST, Split.TRAIN], [held_out, held_out, patients])
    keys = tuple(number.to_bytes(32, "big") for number in [*range(everybody - len(known)), *known])
    made = Images(pixels, (patient % 2).astype(np.int64), patient, keys, split)
    return Prepared(made, Counts(len(patient), len(patient), dict.fromkeys(Reason, 0)))


@dataclass
class Releases:
    """What hospitals released: the real sums [d] that nobody else sees, the integers with noise, by what mechanism."""

    sums: list[NDArray[np.float64]] = field(default_factory=list)
    integers: list[NDArray[np.int64]] = field(default_factory=list)
    by: list[Mechanism] = field(default_factory=list)

    def release(self, total: NDArray[np.float64], mechanism: Mechanism, stream: SecureStream) -> NDArray[np.int64]:
        """The real one, remembered."""
        noisy = release(total, mechanism, stream)
        self.sums.append(total.copy())
        self.integers.append(noisy)
        self.by.append(mechanism)
        return noisy


def found(folder: Path, names: Sequence[str], policy: str) -> LocalFederation:
    """Homes in the new `folder` with keys and the words of `policy`, and a roster that lists them; no archives."""
    federation, keys = create(folder / "federation"), {}
    for name in names:
        home = folder / "sites" / name
        make_keys(home)
        (home / "site.toml").write_text(f'name = "{name}"\narchive = "{folder}"\nlabels = "{folder}/labels.csv"\n')
        (home / "policy.toml").write_text(policy)
        (home / "root.pub").write_bytes(federation.root_public)
        keys[name] = Home(home).identity.public
    federation.enroll(keys)
    return LocalFederation(folder, tuple(names))


def site_of(local: LocalFederation, name: str, prepared: Prepared, releases: Releases | None = None) -> Site:
    """The hospital `name` with the images `prepared`, each patient's gradient taken alone; what it releases is kept in
    `releases`."""
    kept = releases or Releases()
    prepare: Callable[[Home, Study], Prepared] = lambda *_: prepared  # noqa: E731
    return Site(local.home(name), prepare=prepare, way=Loop(), release=kept.release)
