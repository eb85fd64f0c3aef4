"""The store's words: conversations, their messages, the turns that answer them, and what is known of people and places."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum

from store.errors import refuse_unstorable


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationKey:
    """Which conversation a message belongs to (DESIGN §4). Keys that differ in any part are two conversations.

    An absent part is "": NULL is never unique. `platform` is never absent.
    """

    platform: str
    workspace: str = ""
    channel: str
    thread: str = ""
    user: str = ""

    def __post_init__(self) -> None:
        if not self.platform:
            raise ValueError("a conversation key needs a platform")
        for part in (self.platform, self.workspace, self.channel, self.thread, self.user):
            if len(part) > KEY_PART_LENGTH:
                raise ValueError(f"a part of a conversation key has at most {KEY_PART_LENGTH} characters")
            refuse_unstorable(part)


class Role(StrEnum):
    """Who said it."""

    USER = "user"
    ASSISTANT = "assistant"


class Ending(StrEnum):
    """How an answer ended. Everything but COMPLETE is marked where people see it."""

    COMPLETE = "complete"
    LENGTH = "length"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"


class TurnState(StrEnum):
    """The states of a turn (DESIGN §5). The first three are open, the others final."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    DONE = "done"
    UNDELIVERABLE = "undeliverable"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARKED = "parked"

    @property
    def final(self) -> bool:
        """Nothing more happens to the turn unless somebody retries it."""
        return self not in (TurnState.QUEUED, TurnState.RUNNING, TurnState.DELIVERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation as it stands. `ended_at`: its key has moved on. `expired_at`: it waits to be purged. `persona` is what
    people chose for it, "" when they chose none."""

    id: int
    key: ConversationKey
    created_at: datetime
    active_at: datetime
    ended_at: datetime | None
    expired_at: datetime | None
    persona: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageName:
    """What a platform calls one message. `channel` is the key's: a thread's messages are named by the channel around it.

    "" for the channel means any of the workspace, where a platform's ids are unique and the channel is not known.
    """

    platform: str
    workspace: str
    channel: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that came with a message. `size` is in bytes, as the platform says; `url` is where it can be read.

    `data` is None until somebody has read it. `problem` says why it never will be; a file has one or the other.
    """

    number: int
    name: str
    media_type: str
    size: int
    url: str
    data: bytes | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A user's message to accept. `address` is where its answer goes, opaque here.

    `position` is the platform's own order within the conversation; None puts the message last. Two messages of one
    conversation never share a position: the second is the same message again. `event_id` may be "" where a platform
    names no deliveries.
    """

    key: ConversationKey
    event_id: str
    message_id: str
    position: int | None
    author_id: str
    author_name: str
    text: str
    address: str
    at: datetime
    from_bot: bool = False
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A stored message. `turn_id` is the turn that answers it, or whose answer it is; None while it waits for one, 0 when it
    was appended and no turn is concerned. `platform_id` is the platform's name of a user's message, "" of all others."""

    id: int
    conversation_id: int
    role: Role
    position: int
    author_id: str
    author_name: str
    text: str
    ending: Ending
    turn_id: int | None
    at: datetime
    from_bot: bool = False
    platform_id: str = ""
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The right to carry out one turn: lease and epoch. Every write of a turn passes it, and is refused when it is old."""

    turn_id: int
    conversation_id: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said, as it is kept in the conversation."""

    text: str
    ending: Ending
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn as it stands. `attempts` counts the claims; `error` is the code that `bot.chat.words` turns into words."""

    id: int
    conversation_id: int
    state: TurnState
    attempts: int
    address: str
    queued_at: datetime
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A turn that is ours to carry out, with all that it takes.

    `window` is what `recent` gives up to the last message that the turn answers. `answer` or `turn.error` is set when
    the turn was already DELIVERING: its outcome is known and only has to be shown. `parts` are the platform ids of what
    is posted already, by part number. `recovered`: somebody held the turn before and may have posted more than is recorded.
    `stop`: it was told to stop and did not get to it. `persona` is the conversation's.
    """

    hold: Hold
    turn: Turn
    key: ConversationKey
    window: tuple[Message, ...]
    answer: Answer | None
    recovered: bool
    stop: bool = False
    persona: str = ""
    parts: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message that was taken in, and its turn when it could be begun at once."""

    conversation_id: int
    claim: Claim | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorbed:
    """A turn's new window after it took in more messages, and where the newest of them wants its answer."""

    window: tuple[Message, ...]
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What a holder learns when it renews its lease. `stop`: go no further; `retracted`: `finish` will say so, too;
    `revised`: what it answers was edited, so whoever claims the turn next begins it anew.
    """

    stop: bool
    waiting: bool
    retracted: bool = False
    revised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What `stop` found: the turn that runs and was told to stop, and the turn that was queued and is cancelled."""

    running: int | None
    queued: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a message stands that a platform named: a user's message, or a part of the answer of `turn_id`."""

    conversation: Conversation
    role: Role
    turn_id: int | None


class Feedback(StrEnum):
    """What somebody thinks of an answer."""

    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFacts:
    """A turn as people may act on it. `authors` are those whose messages it answers; `latest`: no turn was queued later.

    `ending` is that of its answer, None while it has none. `feedback` is what people think of it, by their ids.
    """

    conversation: Conversation
    state: TurnState
    authors: frozenset[str]
    latest: bool
    ending: Ending | None
    feedback: Mapping[str, Feedback] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """A conversation in a list. `messages` counts no further than `MESSAGES_COUNTED`."""

    conversation: Conversation
    messages: int


class Redo(Enum):
    """What an edit of a message led to."""

    SAME = "the text was that already"
    KEPT = "the text is new, nothing is asked again: the message is not the last question"
    AGAIN = "the text is new, and its turn is carried out anew, its answer replaced in place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised:
    """An edit that was taken in."""

    conversation_id: int
    redo: Redo


@dataclass(frozen=True, slots=True, kw_only=True)
class Watermark:
    """How far a place was read: everything up to `position` was handled. `channel` "" stands for the whole workspace."""

    workspace: str
    channel: str
    thread: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The right to work in a workspace, as an adapter keeps it. `data` is opaque here; secrets in it are encrypted by then.

    `user` is whose it is, "" for the bot's own.
    """

    platform: str
    workspace: str
    user: str = ""
    data: bytes
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """Counts for operators; cheap, whatever the size of the store."""

    engine: str
    place: str
    queued: int
    running: int
    oldest_queued_at: datetime | None


KEY_PART_LENGTH = 255
"""Characters of one part of a key: several times the longest id of any platform, and safe in every engine's index."""
TURN_MESSAGES = 20
"""Messages that one turn answers at most; the others wait for the next one (reference: reliability, rapid messages)."""
SMALL_FILE = 256 << 10
"""Bytes of a file that is small; larger ones are pictures."""
SMALL_FILES = 32
"""Small files that come with the messages of one window: 8 MiB at the most, which is more than any prompt has room for."""
LARGE_FILES = 4
"""Larger files that come with the messages of one window: 200 of 5 MiB each would be a gigabyte for one prompt."""
SUMMARIES = 100
"""Conversations that are listed at once."""
MESSAGES_COUNTED = 1000
"""Messages of a listed conversation that are counted: for people more is just many."""
TOO_FAR_BACK = "it is too far back"
"""The problem of a file that is kept and left out of a window: behind the newest. It is not stored."""
DAMAGED = "damaged"
"""The error of a turn whose conversation can't be read."""
RETRACTED = "retracted"
"""The error of a turn whose messages were all deleted: nothing is said, and what was said is taken back."""
