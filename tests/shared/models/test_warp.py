import pytest
import torch
from torch import Generator, Tensor

from shared.models.warp import bending, determinants, integrated, warped


def ramp(*size: int) -> Tensor:
    """[1, 1, *size], the place along the first side."""
    return torch.arange(size[0]).float().reshape(1, 1, -1, *(1 for _ in size[1:])).expand(1, 1, *size).contiguous()


def field(*by: float, size: tuple[int, ...]) -> Tensor:
    return torch.tensor(by).reshape(1, -1, *(1 for _ in size)).expand(1, len(by), *size).contiguous()


@pytest.mark.parametrize("size", [(6, 5), (6, 5, 4)])
def test_an_image_is_looked_up_at_its_displaced_places(size: tuple[int, ...]) -> None:
    by = (1.5, *(0.0 for _ in size[1:]))
    found = warped(ramp(*size), field(*by, size=size))
    torch.testing.assert_close(found, (ramp(*size) + 1.5).clamp(max=5), atol=1e-5, rtol=0)
    torch.testing.assert_close(warped(ramp(*size), field(*(0.0 for _ in size), size=size)), ramp(*size))


def test_every_side_moves_by_its_own_number() -> None:
    image = torch.rand(1, 1, 6, 7, generator=Generator().manual_seed(0))
    found = warped(image, field(1.0, -2.0, size=(6, 7)))
    torch.testing.assert_close(found[..., :5, 2:], image[..., 1:, :5], atol=1e-5, rtol=0)


def test_a_steady_wind_carries_as_far_as_it_blows() -> None:
    torch.testing.assert_close(integrated(field(1.0, -0.5, size=(8, 8)), 5), field(1.0, -0.5, size=(8, 8)))
    assert torch.equal(integrated(field(1.0, 2.0, size=(8, 8)), 0), field(1.0, 2.0, size=(8, 8)))


def test_a_velocity_that_would_fold_gives_a_displacement_that_does_not() -> None:
    velocity = torch.zeros(1, 2, 16, 16)
    velocity[:, 0] = 4 * torch.sin(torch.arange(16) * 0.8)[:, None]
    assert (determinants(velocity) <= 0).any()
    assert (determinants(integrated(velocity, 6)) > 0).all()


@pytest.mark.parametrize("size", [(5, 6), (5, 6, 4)])
def test_determinants_of_known_maps(size: tuple[int, ...]) -> None:
    grown = torch.cat([0.5 * ramp(*size), torch.zeros(1, len(size) - 1, *size)], dim=1)
    torch.testing.assert_close(determinants(grown), torch.full((1, *(side - 1 for side in size)), 1.5))
    folded = torch.cat([-2 * ramp(*size), torch.zeros(1, len(size) - 1, *size)], dim=1)
    torch.testing.assert_close(determinants(folded), torch.full((1, *(side - 1 for side in size)), -1.0))


def test_bending_is_of_what_bends() -> None:
    size = (6, 6)
    straight = torch.cat([3 * ramp(*size), -ramp(*size)], dim=1)
    assert float(bending(straight)) == pytest.approx(0)
    squared = torch.cat([ramp(*size) ** 2, torch.zeros(1, 1, *size)], dim=1)
    assert float(bending(squared)) == pytest.approx(4 / 2)  # (x²)'' = 2 in one of two components
    mixed = torch.cat([ramp(*size) * ramp(*size).transpose(2, 3), torch.zeros(1, 1, *size)], dim=1)
    assert float(bending(mixed)) == pytest.approx(2 * 1 / 2)  # ∂x∂y xy = 1, twice
