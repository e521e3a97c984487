import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from client.images import Images, Split
from client.privacy.stream import SecureStream
from client.training import private
from client.training.loop import Diagnostics, train, train_private
from shared.errors import InputError, MisuseError, SiteError
from shared.mechanism import Mechanism
from shared.models.registry import build
from shared.optimiser import learning_rate
from shared.parameters import load_vector, to_vector
from shared.study import MINIMAL, Privacy, Study, Training, parse_study

PLAIN = parse_study(MINIMAL)
PRIVATE = msgspec.structs.replace(
    PLAIN, privacy=Privacy(mode="local", epsilon=8.0, delta=1e-5, clip=0.5, sampling_rate=0.5)
)


def images(patients: int = 12, split: Split = Split.TRAIN) -> Images:
    """Two images per patient; label 1 is a bright centre."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(patients), 2)
    label = (patient % 2).astype(np.int64)
    pixels = rng.random((2 * patients, 1, 16, 16), dtype=np.float32) * 0.5
    pixels[:, :, 6:10, 6:10] += 0.5 * label[:, None, None, None].astype(np.float32)
    keys = tuple(bytes([p]) for p in range(patients))
    return Images(pixels, label, patient, keys, np.full(patients, int(split)))


def small(seed: int = 0) -> nn.Module:
    return build(
        msgspec.structs.replace(PLAIN.model, options={"width": 4, "hidden": 0}),
        channels=1,
        classes=2,
        size=(16, 16),
        seed=seed,
    )


def with_training(study: Study, **changes: object) -> Study:
    return msgspec.structs.replace(study, training=msgspec.structs.replace(study.training, **changes))


def one_number(start: float = 0.0) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    load_vector(net, np.full(514, start, np.float32))
    return net


class TestPlain:
    def test_learns(self) -> None:
        net = small()
        study = with_training(PLAIN, local_steps=None, local_epochs=10, optimizer="adam", learning_rate=0.01)
        first = train(small(), images(), PLAIN, round=1).loss
        last = train(net, images(), study, round=1).loss
        assert first is not None and last is not None and last < first

    def test_the_seed_and_round_decide_everything(self) -> None:
        study = with_training(PLAIN, augmentation=("flip", "noise"), momentum=0.9)
        results = []
        for seed, round in ((1, 1), (1, 1), (2, 1), (1, 2)):
            net = small()
            train(net, images(), study, round=round, seed=seed)
            results.append(to_vector(net))
        assert (results[0] == results[1]).all()
        assert (results[0] != results[2]).any() and (results[0] != results[3]).any()

    def test_half_precision_learns_with_weights_and_keeps_float32_weights(self) -> None:
        study = with_training(PLAIN, local_steps=None, local_epochs=10, optimizer="adam", learning_rate=0.01)
        half = with_training(study, precision="bfloat16")
        net = small()
        last = train(net, images(), half, round=1, class_weights=(1.0, 2.0)).loss
        first = train(small(), images(), PLAIN, round=1, class_weights=(1.0, 2.0)).loss
        assert first is not None and last is not None and last < first
        assert to_vector(net).dtype == np.float32

    def test_epochs_are_passes_over_the_patients(self) -> None:
        study = with_training(PLAIN, local_steps=None, local_epochs=3, batch=5)
        assert train(small(), images(12), study, round=1).steps == 9

    def test_a_label_of_weight_zero_teaches_nothing(self) -> None:
        dark = images()
        dark = replace(dark, target=np.zeros_like(dark.target))
        net = small()
        train(net, dark, PLAIN, round=1, class_weights=(0.0, 1.0))
        assert (to_vector(net) == to_vector(small())).all()

    def test_without_training_images_the_site_is_told(self) -> None:
        with pytest.raises(SiteError, match=r"at least one training image"):
            train(small(), images(split=Split.TEST), PLAIN, round=1)


class TestPrivate:
    def test_exactly_the_local_steps_and_nothing_told(self) -> None:
        for count in (1, 12):
            done = train_private(small(), images(count), PRIVATE, round=1, sigma=1.0)
            assert done == Diagnostics(steps=2, seconds=done.seconds, loss=None)

    @pytest.mark.parametrize("empty", ["nobody drawn", "no patients"])
    def test_an_empty_sample_still_adds_noise(self, empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if empty == "nobody drawn":
            monkeypatch.setattr(private, "poisson_sample", lambda *_: np.empty(0, np.int64))
        data = images() if empty == "nobody drawn" else images(split=Split.TEST)
        moved = np.concatenate([self._moved(data) for _ in range(20)])
        # two SGD steps of learning rate 0.1 with noise 2 · 0.5 over the public batch of 8
        expected = math.sqrt(2) * 0.1 * 2.0 * 0.5 / 8
        assert moved.std() == pytest.approx(expected, rel=6 / math.sqrt(2 * moved.size))

    def _moved(self, data: Images) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        net = one_number()
        train_private(net, data, PRIVATE, round=1, sigma=2.0)
        return to_vector(net)

    def test_without_its_noise_a_step_moves_at_most_clip_over_batch_per_patient(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def silent(total: NDArray[np.float64], mechanism: Mechanism, _: SecureStream) -> NDArray[np.int64]:
            return np.rint(total / mechanism.grid).astype(np.int64)

        monkeypatch.setattr(private, "poisson_sample", lambda count, *_: np.arange(count))
        net = one_number()
        train_private(net, images(3), with_training(PRIVATE, local_steps=1), round=1, sigma=1.0, release=silent)
        assert 0 < np.linalg.norm(to_vector(net)) <= 0.1 * 3 * 0.5 / 8 + 1e-7

    def test_nothing_repeats(self) -> None:
        nets = [small(), small()]
        for net in nets:
            train_private(net, images(), PRIVATE, round=1, sigma=1.0)
        assert (to_vector(nets[0]) != to_vector(nets[1])).any()

    def test_batch_norm_is_refused_before_anything_is_learnt(self) -> None:
        net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(256, 2))
        before = [p.clone() for p in net.parameters()]
        with pytest.raises(InputError, match=r"each image on its own.*BatchNorm"):
            train_private(net, images(), PRIVATE, round=1, sigma=1.0)
        assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))

    def test_each_loop_takes_its_own_mode(self) -> None:
        with pytest.raises(MisuseError):
            train(small(), images(), PRIVATE, round=1)
        with pytest.raises(MisuseError):
            train_private(small(), images(), PLAIN, round=1, sigma=1.0)

    def test_learns_when_the_noise_is_small(self) -> None:
        """Through the whole private path; with noise this small the outcome is the same every time."""
        net, data = small(), images(80)
        study = with_training(PRIVATE, local_steps=30, batch=40, learning_rate=0.5)
        train_private(net, data, study, round=1, sigma=0.02)
        with torch.no_grad():
            margin = net(torch.from_numpy(data.pixels)).diff(dim=1)[:, 0].numpy()
        assert (margin[data.target == 1][:, None] > margin[data.target == 0][None, :]).mean() > 0.9


def test_the_line_ends_above_nothing_and_warm_up_begins_below_the_full_rate() -> None:
    training = Training(rounds=4, batch=1, local_steps=1, learning_rate=2.0, schedule="linear", warmup=1)
    assert [learning_rate(training, round) for round in range(1, 5)] == [1.0, 1.5, 1.0, 0.5]


def test_the_cosine_goes_from_the_full_rate_to_a_tenth() -> None:
    training = Training(rounds=11, batch=1, local_steps=1, learning_rate=2.0, schedule="cosine")
    rates = [learning_rate(training, round) for round in range(1, 12)]
    assert rates[0] == pytest.approx(2.0) and rates[5] == pytest.approx(1.1) and rates[-1] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)
    assert learning_rate(msgspec.structs.replace(training, schedule="constant"), 7) == 2.0
