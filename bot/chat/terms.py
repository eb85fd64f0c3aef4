"""What holds for a turn: the model that is asked first, as whom it answers, and what it may cost.

Rules change while turns wait, so a turn's terms are asked for when it is claimed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.llm.protocol import LLMClient
from store import ConversationKey, Limit


def no_limits(payer: str) -> Sequence[Limit]:
    """Let everybody ask as much as they like."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`persona` is the operators' for this place; `limits` are those that apply there, by the id of who pays. They are asked
    for before each call of the model, so they hold from the moment when they were set."""

    model: LLMClient
    persona: str
    limits: Callable[[str], Sequence[Limit]] = no_limits


TermsOf = Callable[[ConversationKey], Terms]
"""Tells the terms of a conversation's turns, as they are now."""
