"""What a hospital keeps warm between the messages of a study: its images, the network, the quickest way to train it.

A step of mode "distributed" is one message; decoding images, building a network or measuring anew for each would take
longer than the step. Guarantees: what is kept is what would be made anew, but for the weights, which every message
brings; of networks only the last study's is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from client.dicom.archive import Counts, Progress, prepare
from client.home import Home
from client.images import Images
from client.privacy.release import release
from client.starts import Starts
from client.training.features import Learned, features_of, has_fixed
from client.training.gradients.base import PatientGradients
from client.training.gradients.choose import Choice
from client.training.loop import given_shape, loss_of
from client.training.private import Release, choose
from shared.errors import PeerError
from shared.layout import Layout
from shared.network import network_of
from shared.parameters import layout_of, load_part, load_vector, to_vector
from shared.start import is_needed, started
from shared.study import Study, spec_hash, study_hash
from shared.tasks.registry import kind_of
from shared.wire import pack

#: Patients at a time where the way of taking gradients is given.
AT_ONCE = 64


@dataclass(frozen=True)
class Prepared:
    """This hospital's images for one study, and what became of every file."""

    images: Images
    counts: Counts


def prepare_for(home: Home, study: Study, progress: Progress | None = None) -> Prepared:
    """The images of the hospital in `home` for `study`: scanned, joined, decoded, split."""
    images, counts = prepare(
        home.archive,
        home.labels,
        home.path / "archive",
        key=home.archive_key,
        study=study,
        target=kind_of(study).target,
        cache_bytes=None if home.config.cache_gib is None else int(home.config.cache_gib * 2**30),
        progress=progress,
    )
    return Prepared(images, counts)


@dataclass
class _Warm:
    """One study's network, and what private training of it needs once that is known."""

    study: bytes
    module: nn.Module
    #: the part of it that is trained, and the images as that part takes them
    trained: nn.Module | None = None
    images: Images | None = None
    choice: Choice | None = None


class Workbench:
    """The bench of the hospital in `home`. `way` takes the place of the measured way to take gradients, and `release`
    that of the noise: for audits, which plant patients or take the noise away. `note` is told what was done, in words
    and numbers for the hospital's own log."""

    def __init__(
        self,
        home: Home,
        *,
        note: Callable[..., object],
        prepare: Callable[[Home, Study], Prepared] | None = None,
        way: PatientGradients | None = None,
        release: Release = release,
    ) -> None:
        self._home, self._note, self._prepare, self._way = home, note, prepare or prepare_for, way
        self.release = release
        #: the files that studies begin with
        self.starts = Starts(home.path / "starts")
        self._device = torch.device(home.config.device)
        self._prepared: dict[bytes, Prepared] = {}
        self._layouts: dict[bytes, Layout] = {}
        self._warm: _Warm | None = None
        torch.set_num_threads(home.config.threads)

    def prepared(self, study: Study) -> Prepared:
        """The hospital's images for `study`."""
        key = spec_hash(study.input) + pack(study.task) + pack(study.evaluation)
        if key not in self._prepared:
            self._prepared[key] = self._prepare(self._home, study)
            self._note("prepared", images=len(self._prepared[key].images.target))
        return self._prepared[key]

    def layout(self, study: Study) -> Layout:
        """Which weights of the study's network move, and where they lie; the study's file is not needed for it."""
        key = study_hash(study)
        if key not in self._layouts:
            self._layouts[key] = layout_of(network_of(study))
        return self._layouts[key]

    def open(self, study: Study) -> None:
        """Make the study's network, with the weights of it that stay. Raises LacksError without the study's file."""
        self._of(study)

    def network(self, study: Study, weights: memoryview) -> nn.Module:
        """The study's network with `weights`, those that move, little-endian float32. Raises PeerError where they do
        not fit, LacksError without the study's file."""
        warm = self._of(study)
        size = layout_of(warm.module).moving
        if len(weights) != 4 * size:
            raise PeerError("weights", expected=f"{4 * size} bytes", got=f"{len(weights)}", do="Run the same Konsil.")
        vector: NDArray[np.float32] = np.frombuffer(weights, "<f4").astype(np.float32)
        if not np.isfinite(vector).all():
            raise PeerError("weights", expected="finite numbers", got="nan or infinity")
        load_part(warm.module, vector)
        return warm.module

    def private(self, study: Study, class_weights: Sequence[float]) -> tuple[nn.Module, Images, Choice]:
        """The part of the study's network that is trained, with the weights of the last `network`; the images as it
        takes them; and the quickest way to its per-patient gradients."""
        warm, (trained, images) = self._of(study), self.learning(study)
        if warm.choice is None:
            warm.choice = self._choose(trained, study, class_weights, given_shape(study, images))
        return trained, images, warm.choice

    def learning(self, study: Study) -> tuple[nn.Module, Images]:
        """The part of the study's network that is trained, with the weights of the last `network`, and the images as it
        takes them: where all before it stays, features that were made once."""
        warm = self._of(study)
        if warm.trained is None or warm.images is None:
            images = self.prepared(study).images
            fixed = has_fixed(warm.module, study.training)
            warm.images = features_of(warm.module, images) if fixed else images
            warm.trained = Learned(warm.module) if fixed else warm.module
        return warm.trained, warm.images

    def _choose(
        self, module: nn.Module, study: Study, class_weights: Sequence[float], shape: tuple[int, ...]
    ) -> Choice:
        if self._way is not None:
            return Choice(way=self._way, at_once=AT_ONCE, seconds={})
        module.train()
        choice = choose(module, loss_of(kind_of(study), class_weights), shape, study)
        self._note("gradients", how=choice.line)
        return choice

    def _of(self, study: Study) -> _Warm:
        key = study_hash(study)
        if self._warm is None or self._warm.study != key:
            self._warm = _Warm(key, self._begin(study).to(self._device))
        return self._warm

    def _begin(self, study: Study) -> nn.Module:
        """The study's network as its seed and its file give it, where some of it stays so; else as the seed does: every
        weight comes with the task."""
        module = network_of(study)
        if is_needed(study):
            data = self.starts.read(study)
            load_vector(module, started(study, layout_of(module), to_vector(module), data))
        return module
