import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.dicom.labels.findings import Said, add, agree, choose
from client.dicom.reasons import Reason

FEW = st.frozensets(st.sampled_from("abc"))
STATEMENTS = st.builds(Said, FEW, FEW, FEW)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        (("clear",), "clear"),
        (("edema", "pneumonia"), "pneumonia"),
        (("edema",), Reason.LABEL_NOT_IN_STUDY),
        ((), Reason.LABEL_NOT_IN_STUDY),
        (("clear", "pneumonia"), Reason.LABEL_CONFLICT),
        (Reason.NO_LABEL, Reason.NO_LABEL),
    ],
)
def test_the_one_finding_of_the_study(findings: tuple[str, ...] | Reason, expected: object) -> None:
    assert choose(findings, ("clear", "pneumonia")) == expected


def test_statements_add_up_and_contradictions_stay() -> None:
    edema, no_edema = Said(present=frozenset("e")), Said(absent=frozenset("e"))
    assert add(edema, Said(frozenset("p"), unsure=frozenset("x"))) == Said(frozenset("ep"), unsure=frozenset("x"))
    assert add(edema, no_edema) is None
    assert add(add(edema, no_edema), edema) is None
    assert agree(agree(edema, no_edema), edema) is None


@given(STATEMENTS, STATEMENTS, STATEMENTS)
def test_order_never_matters(one: Said, two: Said, three: Said) -> None:
    assert add(one, two) == add(two, one)
    assert add(add(one, two), three) == add(one, add(two, three))
    assert agree(agree(one, two), three) == agree(one, agree(two, three))
