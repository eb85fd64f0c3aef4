"""What a surface knows of what it did, and can do without: the newest things, the oldest are forgotten."""

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 1000


def remember(memory: dict[K, V], name: K, value: V) -> None:
    """Keep a thing as the newest one."""
    memory.pop(name, None)
    memory[name] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]
