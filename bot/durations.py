"""Durations as people write them: one whole number and one unit, `90s 30m 12h 30d`.

`parse_duration(format_duration(d)) == d` for every duration of whole seconds; `tests/test_durations.py` proves it.
"""

import re
from datetime import timedelta

_WRITTEN = re.compile(r"([0-9]{1,15})([smhd])", re.ASCII)
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}


def parse_duration(text: str) -> timedelta:
    """Read `text` as a duration.

    Raises:
        ValueError: it is anything else; the message does not repeat it.
    """
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise ValueError("a duration is a whole number with one of the units s, m, h, d: 90s, 30m, 12h or 30d")
    try:
        return int(written[1]) * _UNITS[written[2]]
    except OverflowError:
        raise ValueError("a duration is a whole number below some million years") from None


def format_duration(duration: timedelta) -> str:
    """Write `duration` with the largest unit that divides it; parts of a second are dropped."""
    whole = timedelta(seconds=duration // timedelta(seconds=1))
    unit = next((unit for unit, length in _UNITS.items() if whole and not whole % length), "s")
    return f"{whole // _UNITS[unit]}{unit}"
