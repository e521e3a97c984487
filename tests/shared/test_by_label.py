import pytest

from shared.by_label import WIDEST, alone, sheets
from shared.judged import Figure


def figures(names: str, labels: str) -> list[Figure]:
    return [Figure(name, 0.5, name.upper(), of=label) for label in labels for name in names]


def test_what_is_of_all_or_of_one_label_alone_is_listed() -> None:
    given = [Figure("mae", 1.0, "Error", better="lower"), *figures("xy", "ab"), *figures("z", "c")]
    assert [name for name, _ in alone(given)] == ["Error (lower is better)", "Z, c"]
    (sheet,) = sheets(given)
    assert sheet.columns == ("Of", "X", "Y")
    assert [(name, [(one.name, one.of) for one in row]) for name, row in sheet.rows] == [
        ("a", [("x", "a"), ("y", "a")]),
        ("b", [("x", "b"), ("y", "b")]),
    ]


def test_more_figures_than_labels_have_a_row_each() -> None:
    (sheet,) = sheets(figures("xyz", "ab"))
    assert sheet.columns == ("Figure", "a", "b")
    assert [(name, [one.of for one in row]) for name, row in sheet.rows] == [(name, ["a", "b"]) for name in "XYZ"]


def test_labels_with_other_figures_have_tables_of_their_own() -> None:
    found = sheets([*figures("x", "ab"), *figures("y", "cd")])
    assert [(sheet.columns, [name for name, _ in sheet.rows]) for sheet in found] == [
        (("Of", "X"), ["a", "b"]),
        (("Of", "Y"), ["c", "d"]),
    ]


@pytest.mark.parametrize(("labels", "widths"), [(7, [7]), (8, [4, 4]), (14, [7, 7]), (15, [5, 5, 5])])
def test_no_table_is_wider_than_can_be_read_and_none_much_narrower(labels: int, widths: list[int]) -> None:
    given = figures("abcdefghijklmnopq", "ABCDEFGHIJKLMNO"[:labels])
    found = sheets(given)
    assert [len(sheet.columns) - 1 for sheet in found] == widths
    assert max(widths) <= WIDEST
    once = [one for sheet in found for _, row in sheet.rows for one in row]
    assert sorted(once, key=str) == sorted(given, key=str)


def test_nothing_is_of_no_figures() -> None:
    assert (alone(()), sheets(())) == ((), ())
