"""What a trial of many small steps counts, and what it saw wherever a count should have stayed at 0."""

from dataclasses import dataclass, field


@dataclass
class Tally:
    """The base of such counts: each is a number that begins at 0."""

    seen: list[str] = field(default_factory=list)
    """What was wrong, in words."""

    def wrong(self, count: str, words: str, by: int = 1) -> None:
        """Raise the count of this name, and note why."""
        setattr(self, count, getattr(self, count) + by)
        self.seen.append(words)
