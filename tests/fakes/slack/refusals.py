"""What Slack answers when it does not do what it was asked: nearly always a 200 with `"ok": false`."""

from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass
class Refusal(Exception):
    """An error by Slack's name for it."""

    error: str
    more: dict[str, Json] = field(default_factory=dict)

    def json(self) -> Json:
        return {"ok": False, "error": self.error} | self.more


def missing_scope(needed: str, provided: set[str]) -> Refusal:
    return Refusal("missing_scope", {"needed": needed, "provided": ",".join(sorted(provided))})


def invalid_arguments(why: str) -> Refusal:
    return Refusal("invalid_arguments", {"response_metadata": {"messages": [f"[ERROR] {why}"]}})


def invalid_blocks(why: str) -> Refusal:
    return Refusal("invalid_blocks", {"response_metadata": {"messages": [f"[ERROR] {why}"]}})
