import numpy as np
import pytest
import torch

from shared.errors import InputError, OperatorError
from shared.metrics import BinaryCounts
from shared.study import MINIMAL, Study, parse_study
from shared.tasks.registry import kind_of


def study(labels: str = '["left", "right"]', options: str = "") -> Study:
    task = f'kind = "multilabel"\nlabels = {labels}\n[task.options]\n{options}'
    return parse_study(MINIMAL.replace('labels = ["clear", "nodule"]', task))


MEASURES = np.array([[0.9, 0.2], [0.6, 0.8], [0.7, 0.1], [0.1, 0.4]])
TRUTH, PATIENTS = np.array([[1, 0], [1, 1], [0, 1], [0, 0]]), np.arange(4)


def test_every_finding_is_judged_on_its_own() -> None:
    kind = kind_of(study())
    counts = kind.count(MEASURES, TRUTH, PATIENTS)
    judged = kind.judge(counts, counts)
    areas = {}
    for k, label in enumerate(("left", "right")):
        figure = judged.figure("stratified_auc", label)
        assert figure is not None
        areas[label] = figure.value
        assert figure.value == BinaryCounts.of(MEASURES[:, k], TRUTH[:, k], PATIENTS).stratified_auc
    assert areas == {"left": 0.75, "right": 0.5}
    assert (judged.headline.name, judged.headline.value) == ("macro_auc", 0.625)
    assert [table.title.rpartition(", ")[2] for table in judged.tables] == ["left", "right"]


def test_the_loss_by_hand() -> None:
    kind = kind_of(study())
    logits = torch.logit(torch.tensor([[0.8, 0.4]]))
    loss = kind.loss(logits, torch.tensor([[1, 0]]), (3.0, 5.0))
    assert float(loss) == pytest.approx((3 * -np.log(0.8) - np.log(0.6)) / 2, rel=1e-5)


def test_the_focal_loss_by_hand() -> None:
    kind = kind_of(study(options='loss = "focal"'))
    logits = torch.logit(torch.tensor([[0.8, 0.4]]))
    expected = (0.2**2 * -np.log(0.8) + 0.4**2 * -np.log(0.6)) / 2
    assert float(kind.loss(logits, torch.tensor([[1, 0]]), (1.0, 1.0))) == pytest.approx(expected, rel=1e-5)


def test_one_finding_may_be_alone_but_not_none() -> None:
    assert kind_of(study('["left"]')).outputs == 1
    with pytest.raises(InputError, match=r"task\.labels"):
        kind_of(study("[]"))


def test_findings_of_different_images_are_refused() -> None:
    kind = kind_of(study())
    counts = kind.count(MEASURES, TRUTH, PATIENTS)
    counts[600] += 1
    with pytest.raises(OperatorError, match="as many images"):
        kind.judge(counts)
