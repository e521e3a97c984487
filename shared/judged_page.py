"""What a kind of task judged of a model, as blocks of a page: figures with intervals, tables, charts.

>>> judged = Judged(kind="x", images=2, figures=(Figure("auc", 0.5, "AUC", 0.2, 0.8),))
>>> blocks_of(judged)[0].rows
(('AUC', '', '0.500', '0.200 to 0.800'),)
"""

from shared.judged import Figure, Judged
from shared.page import Block, Cell, Chart, Rows, shown


def blocks_of(judged: Judged) -> tuple[Block, ...]:
    """Every figure, table and curve, in their order."""
    figures = Rows(("figure", "of", "value", "95 % interval"), tuple(_row(figure) for figure in judged.figures))
    tables = (Rows(table.columns, table.rows, table.title, table.note) for table in judged.tables)
    return (figures, *tables, *([Chart(judged.curves)] if judged.curves else []))


def value_of(figure: Figure) -> str:
    """A figure with its unit; a dash where there is none. Whole numbers are shown as such."""
    value = figure.value
    if value is None:
        return shown(None)
    whole = float(value).is_integer() and abs(value) > 1
    return f"{int(value) if whole else shown(float(value))} {figure.unit}".strip()


def interval_of(figure: Figure) -> str:
    """Its 95 % interval, or a dash."""
    if figure.low is None or figure.high is None:
        return shown(None)
    return f"{shown(float(figure.low))} to {shown(float(figure.high))}"


def _row(figure: Figure) -> tuple[Cell, ...]:
    return figure.shown, figure.of, value_of(figure), interval_of(figure)
