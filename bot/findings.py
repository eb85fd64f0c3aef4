"""What a look at the installation found: one row of the doctor's table."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a look ended."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, how that ended, and in `text` what to do about it."""

    verdict: Verdict
    what: str
    text: str
