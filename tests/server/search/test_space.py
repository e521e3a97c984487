from pathlib import Path

import pytest

from server.search.space import Choices, Range, read_space, with_settings
from shared.errors import InputError
from shared.study import MINIMAL, parse_study

STUDY = parse_study(MINIMAL)


def written(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text)
    return path


def test_sections_become_dotted_keys(tmp_path: Path) -> None:
    text = "[training.learning_rate]\nlow = 0.01\nhigh = 1\nlog = true\n[model.options.width]\nchoices = [4, 8]\n"
    assert read_space(written(tmp_path, text)) == {
        "training.learning_rate": Range(0.01, 1, log=True),
        "model.options.width": Choices((4, 8)),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one key"),
        ("[privacy.epsilon]\nlow = 1\nhigh = 99\n", r"privacy.*sections of training, model, federation, task"),
        ("[evaluation.test]\nlow = 0.1\nhigh = 0.2\n", "evaluation"),
        ("[input.size]\nchoices = [8]\n", "input"),
        ("training = 3\n", "training"),
        ("[training.batch]\nlow = 9\nhigh = 1\n", "low up to high"),
        ("[training.batch]\nlow = 0\nhigh = 1\nlog = true\n", "above 0 with log"),
        ("[training.batch]\nchoices = []\n", "low and high, or choices"),
        ("[training.batch]\nlow = 1\nhigh = 2\nstep = 3\n", "low and high, or choices"),
        ("not toml", "valid TOML"),
    ],
)
def test_what_no_search_may_change_or_no_range_is_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_space(written(tmp_path, text))


def test_settings_change_their_keys_and_nothing_else() -> None:
    found = with_settings(STUDY, {"training.learning_rate": 0.5, "model.options.width": 4})
    assert (found.training.learning_rate, found.model.options) == (0.5, {"width": 4})
    assert with_settings(found, {"training.learning_rate": 0.1}).training == STUDY.training


@pytest.mark.parametrize(
    "settings", [{"training.learning_rate": -1}, {"training.nonsense": 1}, {"training.batch": "a"}]
)
def test_values_that_no_study_has_are_refused(settings: dict[str, int | float | str]) -> None:
    with pytest.raises(InputError, match="values that a study may have"):
        with_settings(STUDY, settings)
