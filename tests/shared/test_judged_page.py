import pytest

from shared.judged import Figure
from shared.judged_page import interval_of, value_of


@pytest.mark.parametrize(
    ("figure", "value", "interval"),
    [
        (Figure("positives", 0, "With the finding"), "0", "–"),
        (Figure("positives", 1.0, "With the finding"), "1", "–"),
        (Figure("auc", None, "AUC"), "–", "–"),
        (Figure("sensitivity", 1.0, "Sensitivity", 0.5, 1.0), "1.000", "0.500 to 1.000"),
        (Figure("squared_error", 0.00031, "Mean square error", 0.0003, 0.00032), "0.00031", "0.00030 to 0.00032"),
        (Figure("psnr", 30.0, "PSNR", 29.0, 31.0, unit="dB"), "30.000 dB", "29.000 to 31.000"),
    ],
)
def test_a_figure_is_read_as_what_it_is(figure: Figure, value: str, interval: str) -> None:
    assert (value_of(figure), interval_of(figure)) == (value, interval)
