"""How commands write moments, spans, counts and tables: the same everywhere. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

CELL = 120
"""Characters of a cell at most; a persona has 2,000."""


def moment(at: datetime) -> str:
    """Write a moment to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def stamp(at: datetime | None) -> str:
    """Write a moment as a cell, to the second."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def rough(duration: timedelta) -> str:
    """Write a span in its largest unit."""
    seconds = int(duration.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(seconds // size, unit)
    return f"{max(seconds, 0)} s"


def counted(count: int, unit: str) -> str:
    """Write a count with its unit."""
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def excerpt(text: str, length: int = CELL) -> str:
    """Write a text on one line, cut where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in columns as wide as their widest cells."""
    table = [[excerpt(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Write names and what there is to say of each, in two columns."""
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in pairs)
