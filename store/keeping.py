"""The words of keeping: conversations as operators see them, when they expire, and what people take away or have erased."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from store.values import Conversation, Feedback, TurnState


class ConversationState(StrEnum):
    """How far a conversation's life has come."""

    CURRENT = "current"
    ENDED = "ended"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationFilter:
    """Which conversations of a workspace are listed; "" and None leave nothing out."""

    user: str = ""
    channel: str = ""
    state: ConversationState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """A turn as operators see it: how it went and what it cost, and nothing of what was said.

    `money` is in millionths of the currency of the prices. `parts` counts the messages of its reply.
    """

    id: int
    state: TurnState
    attempts: int
    messages: int
    parts: int
    queued_at: datetime
    started_at: datetime | None
    first_shown_at: datetime | None
    settled_at: datetime | None
    model: str
    prompt_tokens: int
    completion_tokens: int
    money: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRecord:
    """A conversation as operators see it. `messages` counts no further than `MESSAGES_COUNTED`; `turns` are the newest
    `TURNS_SHOWN`, the newest first; `people` are those who spoke in it."""

    conversation: Conversation
    messages: int
    people: tuple[str, ...]
    turns: tuple[TurnRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What went when somebody was forgotten."""

    conversations: int
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a person thinks of the answer of a turn, since `at`."""

    turn_id: int
    conversation_id: int
    value: Feedback
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """A portion of what a person thinks of answers, and where the next one begins; None after the last. It may be empty
    though others follow."""

    opinions: tuple[Opinion, ...]
    next: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A part of the store in which conversations are kept for a time of its own: a channel with its threads, a workspace
    (channel "")."""

    platform: str
    workspace: str
    channel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What one batch of expiry did: how many conversations expired, how many were looked at, and where the next batch
    begins; None when no more are due."""

    expired: int
    looked_at: int
    next: str | None


TURNS_SHOWN = 20
EXPORT_PAGE = 50
"""Conversations, or messages, that one call hands out for an export; with their files up to some hundred MB."""
