"""Reading JSON from servers that may send anything: the parse edge of the model room.

What leaves this module is typed; a value of another type than asked for reads as absent, never as an exception.
"""

import json
from collections.abc import Mapping

Fields = Mapping[str, object]
NOTHING: Fields = {}
MOST_COUNTED = 10**9
"""Tokens. What is counted is stored and added up, and a number that no column holds must not cost the answer."""


def parse(text: str | bytes) -> object:
    """Read `text` as JSON; None when it is not, which no caller needs to tell from `null`."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):  # the latter: a few kilobytes of "[" are enough
        return None
    return value


def fields(value: object) -> Fields:
    """Read `value` as an object."""
    return value if isinstance(value, dict) else NOTHING


def items(value: object) -> list[object]:
    """Read `value` as an array."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Read `value` as a string."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """Read `value` as a number of things, none when it is not one, or more than any model can have counted."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_COUNTED else 0
