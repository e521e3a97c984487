"""What a kind of task judged of a model, as blocks of a page: figures with intervals, tables, charts.

>>> judged = Judged(kind="x", images=2, figures=(Figure("auc", 0.5, "AUC", 0.2, 0.8),))
>>> blocks_of(judged)[0].rows
(('AUC', '0.500', '0.200 to 0.800'),)
"""

from shared.by_label import Sheet, alone, sheets
from shared.judged import Figure, Judged
from shared.page import Block, Chart, Rows, shown
from shared.text import GAP


def blocks_of(judged: Judged) -> tuple[Block, ...]:
    """Every figure, table and curve, in their order; figures of several labels beside each other."""
    listed = tuple((name, value_of(figure), interval_of(figure)) for name, figure in alone(judged.figures))
    whole = (Rows(("figure", "value", "95 % interval"), listed),) if listed else ()
    by_label = (_rows(sheet) for sheet in sheets(judged.figures))
    tables = (Rows(table.columns, table.rows, table.title, table.note) for table in judged.tables)
    return (*whole, *by_label, *tables, *([Chart(judged.curves)] if judged.curves else []))


def value_of(figure: Figure) -> str:
    """A figure with its unit; a dash where there is none. Whole numbers are shown as such."""
    value = figure.value
    if value is None:
        return shown(None)
    whole = figure.low is None and float(value).is_integer()
    return f"{int(value) if whole else shown(float(value))} {figure.unit}".strip()


def interval_of(figure: Figure) -> str:
    """Its 95 % interval, or a dash."""
    if figure.low is None or figure.high is None:
        return shown(None)
    return f"{shown(float(figure.low))} to {shown(float(figure.high))}"


def _rows(sheet: Sheet) -> Rows:
    rows = tuple((name, *map(_with_interval, figures)) for name, figures in sheet.rows)
    return Rows(sheet.columns, rows, "Label by label; 95 % intervals in brackets")


def _with_interval(figure: Figure) -> str:
    """Both in one cell, in which a line may only end between them."""
    value, within = value_of(figure).replace(" ", GAP), interval_of(figure).replace(" ", GAP)
    return value if figure.low is None or figure.high is None else f"{value} ({within})"
