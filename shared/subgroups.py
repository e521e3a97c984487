"""The groups of images by which an evaluation also gives figures: the same, in the same order, at both ends.

>>> subgroups(parse_study(MINIMAL).evaluation)
()
"""

from shared.study import AGES, Evaluation

#: (0010,0040) of DICOM, and whatever else it may hold.
SEXES = ("F", "M", "other")


def subgroups(evaluation: Evaluation) -> tuple[str, ...]:
    """Their names. Of "sex": SEXES; of "age": bands in years, and those whose age nobody says; of "manufacturer": the
    study's, and all others."""
    return tuple(name for kind in by_kind(evaluation) for name in kind)


def by_kind(evaluation: Evaluation) -> tuple[tuple[str, ...], ...]:
    """The same, those of each kind together: of one kind an image is in exactly one."""
    kinds: list[tuple[str, ...]] = []
    if "sex" in evaluation.subgroups:
        kinds.append(tuple(f"sex {sex}" for sex in SEXES))
    if "age" in evaluation.subgroups:
        ends = (*(f"age {first}–{last - 1}" for first, last in zip((0, *AGES), AGES, strict=False)), f"age {AGES[-1]}+")
        kinds.append((*ends, "age unknown"))
    if "manufacturer" in evaluation.subgroups:
        kinds.append((*(f"manufacturer {name}" for name in evaluation.manufacturers), "manufacturer other"))
    return tuple(kinds)
