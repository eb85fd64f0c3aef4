"""How long a server asks to wait, read from its headers: leniently, and never with an exception."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST = timedelta(days=366)
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_GO_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|μs|ns)")
_GO_DURATION = re.compile(rf"(?:{_GO_PART.pattern})+")
_COUNTERS = ("requests", "tokens", "input-tokens", "output-tokens")


def asked_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Read the wait that `headers` ask for: `retry-after-ms`, then `retry-after`, then the reset of a used-up counter."""
    wait = _scaled(headers.get("retry-after-ms"), 1e-3)
    if wait is None:
        wait = _after(headers.get("retry-after"), now)
    return _reset(headers, now) if wait is None else wait


def _after(value: str | None, now: datetime) -> timedelta | None:
    wait = _scaled(value, 1.0)
    return _until(value, now, parsedate_to_datetime) if wait is None else wait


def _reset(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Read when the counters that stand at zero start anew; Azure's -1 and counters that are not at zero say nothing."""
    waits: list[timedelta] = []
    for counter in _COUNTERS:
        if (headers.get(f"x-ratelimit-remaining-{counter}") or "").strip() == "0":
            waits += _present(_go_duration(headers.get(f"x-ratelimit-reset-{counter}")))
        if (headers.get(f"anthropic-ratelimit-{counter}-remaining") or "").strip() == "0":
            waits += _present(_until(headers.get(f"anthropic-ratelimit-{counter}-reset"), now, datetime.fromisoformat))
    return max(waits, default=None)


def _present(wait: timedelta | None) -> list[timedelta]:
    return [] if wait is None else [wait]


def _go_duration(value: str | None) -> timedelta | None:
    """Read a duration as Go writes it, such as `6m0s` or `12ms`; some servers send bare seconds."""
    value = (value or "").strip()
    if _GO_DURATION.fullmatch(value):
        return _bounded(sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_PART.findall(value)))
    return _scaled(value, 1.0)


def _scaled(value: str | None, unit: float) -> timedelta | None:
    try:
        return _bounded(float(value or "") * unit)
    except ValueError:
        return None


def _until(value: str | None, now: datetime, read: Callable[[str], datetime]) -> timedelta | None:
    try:
        when = read((value or "").strip())
        return _bounded(((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):  # all of these come out of the date parsers
        return None


def _bounded(seconds: float) -> timedelta | None:
    if not math.isfinite(seconds):
        return None
    return timedelta(seconds=min(max(0.0, seconds), _LONGEST.total_seconds()))
