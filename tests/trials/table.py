"""The words and numbers in which the figures of a trial are shown, on a terminal and in the documents."""

from tests.trials.trial import Figure

HEAD = ("figure", "value", "gate", "95 % bound")


def cells(figure: Figure) -> tuple[str, str, str, str]:
    """Write a figure as a row below `HEAD`."""
    return figure.name, value_of(figure), gate_of(figure), bound_of(figure)


def value_of(figure: Figure) -> str:
    """Write what was seen: "0 of 1,000", "0.31 s"; a figure beyond its gate says so."""
    tries = f" of {figure.of:,}" if figure.of is not None else ""
    broken = "" if figure.held else ", NOT HELD"
    return f"{number(figure.value)}{_unit(figure)}{tries}{broken}"


def gate_of(figure: Figure) -> str:
    """Write the gates: "at most 5 s", "at least 30", "" when it is only told."""
    least = [f"at least {number(figure.at_least)}"] if figure.at_least is not None else []
    most = [f"at most {number(figure.at_most)}"] if figure.at_most is not None else []
    return " and ".join([*least, *most]) + (_unit(figure) if least or most else "")


def bound_of(figure: Figure) -> str:
    """Write how rare a failure that was never seen must be: "below 0.3 %", "" when that is not known."""
    return "" if figure.bound is None else f"below {number(float(f'{figure.bound * 100:.2g}'))} %"


def number(value: float) -> str:
    """Write a number with thousands, and no more digits behind the point than tell something."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def lines(figures: tuple[Figure, ...]) -> list[str]:
    """Write a table in plain text."""
    rows = [HEAD, *map(cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown(figures: tuple[Figure, ...]) -> list[str]:
    """Write a table in Markdown."""
    rows = [HEAD, ("---",) * len(HEAD), *map(cells, figures)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _unit(figure: Figure) -> str:
    return f" {figure.unit}" if figure.unit else ""
