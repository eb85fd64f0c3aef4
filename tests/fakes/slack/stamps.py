"""Slack's timestamps, which are a message's identity within its channel and its place in the order."""

from datetime import UTC, datetime


class Stamps:
    """Makes "1700000000.123456", each later than the one before; only one asked for by its moment may be older."""

    def __init__(self) -> None:
        self._last = 0
        self._older: set[int] = set()

    def new(self, at: datetime) -> str:
        """Make a stamp of now."""
        self._last = max(self._last + 1, _micros(at))
        while self._last in self._older:
            self._last += 1
        return text_of(self._last)

    def at(self, moment: datetime) -> str:
        """Make a stamp of another moment; no two are the same."""
        micros = _micros(moment)
        while micros in self._older or micros == self._last:
            micros += 1
        self._older.add(micros)
        return text_of(micros)


def moment_of(ts: str) -> datetime:
    return datetime.fromtimestamp(float(ts), UTC)


def text_of(micros: int) -> str:
    return f"{micros // 1_000_000}.{micros % 1_000_000:06}"


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)
