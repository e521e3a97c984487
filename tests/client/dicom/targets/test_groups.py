import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.targets.groups import Traits, groups_of
from shared.study import Evaluation
from shared.subgroups import subgroups

ALL = Evaluation(subgroups=("sex", "age", "manufacturer"), manufacturers=("GE Healthcare", "Siemens"))


def named(traits: Traits, evaluation: Evaluation = ALL) -> list[str]:
    found = groups_of([traits], evaluation)
    assert found is not None
    return [name for name, one in zip(subgroups(evaluation), found[0], strict=True) if one]


@pytest.mark.parametrize(
    ("traits", "names"),
    [
        (Traits("F", "039Y", "GE HEALTHCARE"), ["sex F", "age 0–39", "manufacturer GE Healthcare"]),
        (Traits(" m ", "040Y", "Siemens "), ["sex M", "age 40–59", "manufacturer Siemens"]),
        (Traits("O", "079Y", "GE  Health care"), ["sex other", "age 60–79", "manufacturer GE Healthcare"]),
        (Traits("", "080Y", "Philips"), ["sex other", "age 80+", "manufacturer other"]),
        (Traits("D", "old", ""), ["sex other", "age unknown", "manufacturer other"]),
        (Traits("F", "006M", "siemens"), ["sex F", "age 0–39", "manufacturer Siemens"]),
    ],
)
def test_names(traits: Traits, names: list[str]) -> None:
    assert named(traits) == names


@given(st.builds(Traits, st.text(), st.text(), st.text()), st.permutations(["sex", "age", "manufacturer"]))
def test_one_group_of_each_kind_whatever_the_header_says(traits: Traits, order: list[str]) -> None:
    evaluation = Evaluation(subgroups=tuple(order), manufacturers=("A", "B"))  # type: ignore[arg-type]
    assert [name.split()[0] for name in named(traits, evaluation)] == ["sex", "age", "manufacturer"]


def test_none_asked_for() -> None:
    assert groups_of([Traits()], Evaluation()) is None
    assert named(Traits("F"), Evaluation(subgroups=("age",))) == ["age unknown"]
