"""Made-up weights, and who watches them being fetched."""

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from bot.llm.weights import Weights
from bot.llm.weights_sources import Source

BODY = b"GGUF" + random.Random(7).randbytes(3 << 20)


@dataclass
class Seen:
    """A display that remembers."""

    starts: list[tuple[str, int]] = field(default_factory=list)
    count: int = 0
    open: bool = False

    def start(self, what: str, total: int) -> None:
        self.starts.append((what, total))
        self.count, self.open = 0, True

    def advance(self, count: int) -> None:
        self.count += count

    def done(self) -> None:
        self.open = False


def model(*sources: Source, name: str = "tiny", body: bytes = BODY) -> Weights:
    return Weights(
        name=name,
        title=name.title(),
        licence="made up",
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        sources=sources,
    )


def files(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()} - {"fetch.lock"}
