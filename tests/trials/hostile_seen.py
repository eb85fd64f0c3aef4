"""What was seen of hostile texts on a platform."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Seen:
    """How often a text got out, and what came of it that must not."""

    sent: int = 0
    pings: list[str] = field(default_factory=list)
    unfurls: list[str] = field(default_factory=list)
    unguarded: list[str] = field(default_factory=list)
    """Writes that do not say themselves that they ping nobody and unfold nothing."""
    spoofs: list[str] = field(default_factory=list)
    """Names, labels and sentences of ours with something in them that drives or calls."""
