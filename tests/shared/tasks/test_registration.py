import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from shared.errors import InputError
from shared.models.warp import warped
from shared.study import MINIMAL, parse_study
from shared.tasks.registration import Options, Registration, correlation, deformation, target_error
from shared.tasks.registry import kind_of
from shared.tasks.seeds import own_generator

OPTIONS = Options(strength=1.0, spacing=8)


class Says(nn.Module):
    """One displacement field, whatever the images."""

    def __init__(self, field: Tensor) -> None:
        super().__init__()
        self.field = field

    def forward(self, pairs: Tensor) -> Tensor:
        return self.field.expand(len(pairs), *self.field.shape[1:])


def images(count: int = 2, *size: int) -> Tensor:
    """Smooth: what is between two pixels is known."""
    drawn = torch.rand(count, 1, *(4 for _ in size or (1, 1)), generator=Generator().manual_seed(0))
    mode = "bilinear" if len(size) < 3 else "trilinear"
    return torch.nn.functional.interpolate(drawn, size=size or (24, 24), mode=mode, align_corners=True)


def shift(*by: float, size: tuple[int, ...]) -> Tensor:
    return torch.tensor(by).reshape(1, -1, *(1 for _ in size)).expand(1, len(by), *size)


@pytest.mark.parametrize("size", [(24, 24), (8, 12, 12)])
def test_a_known_shift_is_the_error_of_a_field_that_says_nothing_and_none_of_the_right_one(
    size: tuple[int, ...],
) -> None:
    truth = shift(3.0, 4.0, *[0.0] * (len(size) - 2), size=size)
    assert float(target_error(torch.zeros_like(truth), truth)) == pytest.approx(5.0)
    assert float(target_error(-truth, truth)) == pytest.approx(0.0, abs=1e-6)
    assert float(target_error(truth, truth)) == pytest.approx(10.0)


def test_places_that_only_one_image_shows_are_left_out() -> None:
    """Of a field that is right but for the last column, which a shift by one takes out of sight."""
    truth = shift(0.0, 1.0, size=(8, 8))
    field = -truth.clone()
    field[..., 0] = 50.0  # looked for by nobody: the places found are 1 to 7
    assert float(target_error(field, truth)) == pytest.approx(0.0, abs=1e-5)


def test_what_is_given_is_the_image_and_its_deformed_self() -> None:
    kind = Registration(OPTIONS, 1, 2)
    given, target = kind.example(images(), torch.zeros(2), Generator().manual_seed(4))
    truth = deformation(images(), OPTIONS, Generator().manual_seed(4))
    torch.testing.assert_close(given[:, 1:], images())
    torch.testing.assert_close(given[:, :1], warped(images(), truth))
    torch.testing.assert_close(target, given)
    assert not torch.equal(truth[0], truth[1])


def test_deformations_are_smooth_and_stand_still_at_the_frame() -> None:
    for size in ((32, 32), (16, 16, 16)):
        field = deformation(torch.zeros(40, 1, *size), OPTIONS, Generator().manual_seed(0))
        assert field.shape == (40, len(size), *size)
        assert float(field[..., 0].abs().max()) < 1e-5
        assert 0.1 < float(field.std()) < 1.0
        assert float(field.diff(dim=-1).abs().max()) < 1.0


def test_the_right_field_is_measured_as_right() -> None:
    image = images(1)
    truth = deformation(image, OPTIONS, own_generator(image[0], b"konsil/registration/v1"))
    inverse = -truth
    for _ in range(30):  # the field at p undoes the truth at p + field(p)
        inverse = -warped(truth, inverse)
    kind = Registration(OPTIONS, 1, 2)
    nothing = kind.measure(Says(torch.zeros(1, 2, 24, 24)), image, torch.zeros(1), 1)[0]
    right = kind.measure(Says(inverse), image, torch.zeros(1), 1)[0]
    assert nothing[3] == nothing[2] == right[2]
    assert nothing[1] == pytest.approx(nothing[0])
    assert right[3] < 0.05 * right[2]
    assert right[1] > 0.999 > right[0]
    assert right[4] == 0


def test_a_field_that_folds_is_seen_and_loses_more() -> None:
    kind, pair = Registration(OPTIONS, 1, 2), torch.cat([images(), images()], dim=1)
    folding = torch.zeros(1, 2, 24, 24)
    folding[:, 0, ::2] = 2.0
    assert kind.measure(Says(folding), images(), torch.zeros(2), 1)[:, 4].min() > 0.4
    assert (kind.loss(folding.expand(2, -1, -1, -1), pair, ()) > kind.loss(torch.zeros(2, 2, 24, 24), pair, ())).all()


@pytest.mark.parametrize("similarity", ["mse", "lncc"])
def test_equal_images_lose_least_without_displacement(similarity: str) -> None:
    kind = Registration(Options(similarity=similarity), 1, 2)  # type: ignore[arg-type]
    pair = torch.cat([images(), images()], dim=1)
    still, moved = (kind.loss(shift(by, 0.0, size=(24, 24)).expand(2, -1, -1, -1), pair, ()) for by in (0.0, 2.0))
    torch.testing.assert_close(still, torch.full((2,), 0.0 if similarity == "mse" else -1.0), atol=2e-2, rtol=0)
    assert (still < moved).all()


def test_correlation_of_known_images() -> None:
    image = images(1)
    found = [float(correlation(image, other)) for other in (image, 2 * image + 1, -image, torch.ones_like(image))]
    assert found == pytest.approx([1, 1, -1, 0], abs=1e-5)


def test_what_it_cannot_do_is_refused() -> None:
    text = MINIMAL.replace('labels = ["clear", "nodule"]', 'kind = "registration"\noptions = {strength = 5.0}')
    with pytest.raises(InputError, match=r"task\.options\.strength"):
        kind_of(parse_study(text))
    kind = Registration(OPTIONS, 1, 2)
    with pytest.raises(InputError, match=r"such as voxelmorph"):
        kind.loss(torch.zeros(2, 5), torch.zeros(2, 2, 24, 24), ())
    assert np.asarray(kind.presence(np.zeros(3))).shape == (3, 0)
