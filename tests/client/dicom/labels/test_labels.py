from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.labels.findings import Said
from client.dicom.labels.labels import Labels, Statement, gather
from client.dicom.labels.levels import LEVELS, identifier_key, keys_of
from client.dicom.reasons import Reason
from client.dicom.scanning.entry import Entry
from shared.errors import InputError

KEY = b"k" * 32
IDENTIFIERS = ("1.1", "a/1.1.dcm", "1.2", "1.3", "A1", "P1")
OF_ENTRY = dict(zip(LEVELS, IDENTIFIERS, strict=True))

ROWS = st.lists(st.tuples(st.sampled_from(list(LEVELS)), st.booleans(), st.sampled_from("ab")), max_size=12)


def labels_of(rows: list[tuple[str, bool, str]], several: bool = False) -> Labels:
    statements = [
        Statement(
            number, level, identifier_key(KEY, level, OF_ENTRY[level] if ours else "other"), Said(frozenset(said))
        )
        for number, (level, ours, said) in enumerate(rows, start=2)
    ]
    return gather(Path("labels.csv"), statements, several=several)


def test_identifiers_are_hashed_as_the_catalog_does(entry: Entry) -> None:
    assert keys_of(entry) == {level: identifier_key(KEY, level, value) for level, value in OF_ENTRY.items()}


@given(ROWS, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_rows_never_matters(
    entry_of: Callable[..., Entry], rows: list[tuple[str, bool, str]], several: bool, random: object
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert labels_of(shuffled, several).of(entry_of()) == labels_of(rows, several).of(entry_of())


@given(ROWS)
def test_the_most_specific_level_decides_alone(
    entry_of: Callable[..., Entry], rows: list[tuple[str, bool, str]]
) -> None:
    ours = {level: [said for known, mine, said in rows if mine and known == level] for level in LEVELS}
    first = next((said for said in ours.values() if said), [])
    expected = (first[0],) if len(set(first)) == 1 else Reason.LABEL_CONFLICT if first else Reason.NO_LABEL
    assert labels_of(rows).of(entry_of()) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"1.1": "a", "1.2": "a"}, ("a",)),
        ({"1.1": "a"}, ("a",)),
        ({"1.1": "a", "1.2": "b"}, Reason.LABEL_CONFLICT),
        ({}, Reason.NO_LABEL),
        ({"9": "a"}, Reason.NO_LABEL),
    ],
)
def test_slices_of_a_volume_agree(entry_of: Callable[..., Entry], said: dict[str, str], expected: object) -> None:
    slices = [entry_of(sop=sop) for sop in ("1.1", "1.2", "1.4")]
    level = "sop_instance_uid"
    statements = [Statement(2, level, identifier_key(KEY, level, sop), Said(frozenset(x))) for sop, x in said.items()]
    assert gather(Path("x"), statements, several=False).label_of(slices) == expected


def test_one_contradiction_among_the_slices_is_one_of_the_volume(entry_of: Callable[..., Entry]) -> None:
    level = "sop_instance_uid"
    keys = [identifier_key(KEY, level, sop) for sop in ("1.1", "1.1", "1.2")]
    statements = [Statement(2, level, value, Said(frozenset(x))) for value, x in zip(keys, "aba", strict=True)]
    labels = gather(Path("x"), statements, several=False)
    assert labels.label_of([entry_of(sop="1.1"), entry_of(sop="1.2")]) is Reason.LABEL_CONFLICT


def test_an_empty_value_names_nobody() -> None:
    statement = Statement(2, "accession_number", b"", Said(frozenset("a")))
    labels = gather(Path("x"), [statement], several=False)
    assert labels.of(Entry(file=b"f", size=1, mtime_ns=1, inode=1)) is Reason.NO_LABEL


def test_a_file_that_matches_nothing_is_refused() -> None:
    labels = labels_of([("patient_id", False, "a")])
    with pytest.raises(InputError, match=r"match images of the archive by patient_id, got 1 rows"):
        labels.require_match(0)
    labels.require_match(1)
