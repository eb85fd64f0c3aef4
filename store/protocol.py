"""The store's words and laws: conversations, their messages, the turns that answer them and the parts of a reply.

Every implementation passes `tests/contracts/store_laws.py`; each law of a docstring has its test there.

StoreError
├── ConversationNotFound      (LookupError) there is no such conversation; nothing was stored
├── LeaseLost                 the turn belongs to somebody else by now: write nothing more, post nothing more
├── UnstorableText            (ValueError) NUL or a lone surrogate, which not every engine can keep
├── StoreClosed               called after `aclose`
├── StoreUnavailable          full, locked or failing: nothing of this call was kept, trying later may work
└── StoreRefused              it will not be opened, and nothing was written
    ├── StoreBusy             another process holds it
    ├── StoreDenied           it may not be read or written
    ├── NotOurs               it is something else: another program's file, a text, an empty file
    ├── StoreDamaged          it was ours, and is broken
    └── SchemaTooNew          it was written by a newer Parley
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Protocol


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
    """A conversation as it stands. `ended_at`: its key has moved on. `expired_at`: it waits to be purged."""

    id: int
    key: ConversationKey
    created_at: datetime
    active_at: datetime
    ended_at: datetime | None
    expired_at: datetime | None


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
    """

    hold: Hold
    turn: Turn
    key: ConversationKey
    window: tuple[Message, ...]
    answer: Answer | None
    recovered: bool
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
class ChannelSetting:
    """What operators chose for one channel, by name."""

    platform: str
    workspace: str
    channel: str
    name: str
    value: str


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
"""Bytes of a file that comes with its message wherever that is read; larger ones are pictures."""
LARGE_FILES = 4
"""Larger files that come with the messages of one window: 200 of 5 MiB each would be a gigabyte for one prompt."""
SUMMARIES = 100
"""Conversations that are listed at once."""
MESSAGES_COUNTED = 1000
"""Messages of a listed conversation that are counted: for people more is just many."""
TOO_FAR_BACK = "it is too far back"
"""The problem of a file that is kept and left out of a window: behind the newest `LARGE_FILES`. It is not stored."""

RETRACTED = "retracted"
"""The error of a turn whose messages were all deleted: nothing is said, and what was said is taken back."""


class Store(Protocol):
    """Keeps conversations in order. Every call does all or nothing, also when it is cancelled.

    What a call returned from is committed: it is there after a crash, and after `aclose` and opening again. Any valid
    Unicode comes back unchanged; NUL and lone surrogates raise `UnstorableText` on every engine. Times are aware and UTC;
    a naive one raises `ValueError`. Leases are measured by the store's own clock.

    Raises (all methods): StoreClosed, StoreUnavailable.
    """

    async def get_or_create(self, key: ConversationKey, *, at: datetime) -> Conversation:
        """Return the current conversation of `key`, made when there is none.

        Any number of concurrent callers get one conversation.
        """

    async def find(self, key: ConversationKey) -> Conversation | None:
        """Return the current conversation of `key`, without making one."""

    async def append(self, conversation_id: int, role: Role, text: str, *, at: datetime) -> Message:
        """Put a message behind all others, with no turn to answer it: for imports and for what is told, not asked.

        Raises:
            ConversationNotFound: and nothing is stored.
            UnstorableText: and nothing is stored.
        """

    async def recent(self, conversation_id: int, n: int) -> tuple[Message, ...]:
        """Return the last `n` messages, oldest first, in the order of DESIGN §4.

        User messages stand in the platform's order, an answer directly behind the last message that it answers; clocks and
        the order of arrival do not matter. What was committed is seen by the next call. Of files larger than `SMALL_FILE`
        only the newest `LARGE_FILES` come with their data, the others with the problem `TOO_FAR_BACK`.

        Raises:
            ValueError: `n` is below 1.
            ConversationNotFound.
        """

    async def accept(self, message: NewMessage) -> int | None:
        """Take in a user's message: in one transaction, dedupe, get or create, append, queue a turn.

        Returns the conversation's id, or None when the event or the message is known already and nothing was stored:
        twice, at once, on two replicas or after a restart, one message is stored and answered once. At most one turn of a
        conversation is queued; it answers all that waits.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def accept_and_claim(self, message: NewMessage, *, lease: timedelta, window: int) -> Accepted | None:
        """Do as `accept`, and in the same transaction claim the turn, when no other of its conversation is open or held.

        It saves a commit for whoever has nothing better to do than this turn. Otherwise the turn is queued.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def claim(self, *, lease: timedelta, window: int, platforms: Collection[str]) -> Claim | None:
        """Take the oldest open turn of `platforms` whose conversation nobody holds; None when there is none.

        No two holders share a conversation. A turn whose holder's lease ran out is claimed again, before the queued one of
        its conversation. A queued turn takes the waiting messages along, the first `TURN_MESSAGES` in order; if more wait,
        a further turn is queued for them. Counts an attempt.
        """

    async def renew(self, hold: Hold, *, lease: timedelta) -> Renewal:
        """Extend the lease from now.

        Raises:
            LeaseLost: it ran out, or somebody else holds the conversation.
        """

    async def absorb(self, hold: Hold, *, window: int) -> Absorbed | None:
        """Let the turn answer what has arrived since as well; None when nothing waits.

        Within `TURN_MESSAGES`. The queued turn that waited for those messages goes with them.

        Raises:
            LeaseLost.
        """

    async def record_part(self, hold: Hold, number: int, platform_id: str) -> None:
        """Keep the platform's id of a posted part of the reply; a second id for one number replaces the first.

        Raises:
            LeaseLost.
        """

    async def finish(self, hold: Hold, answer: Answer | None, *, error: str = "") -> bool:
        """Settle what the turn says, before it is shown in full: append `answer`, or note why there is none; DELIVERING.

        The answer stands directly behind the last message of the turn. A turn has one answer: finishing again replaces it.
        With an error in its stead, the answer of an earlier try stays. False when the turn was retracted meanwhile:
        nothing is kept, and what is shown of it already is to be taken back.

        Raises:
            LeaseLost: and nothing is stored.
            UnstorableText: and nothing is stored.
            ValueError: both an answer and an error, or neither.
        """

    async def settle(self, hold: Hold, state: TurnState) -> None:
        """Bring the turn to a final state and let go of the conversation. Repeating it raises `LeaseLost`.

        A turn that was revised meanwhile is queued again in place of ending, unless its conversation has ended by then or
        another turn of it is queued. One that was retracted meanwhile ends as CANCELLED, whatever `state` is, by a holder
        who was told by `finish` or the claim; any other may have shown more of the reply, so it is claimed once more.

        Raises:
            LeaseLost.
            ValueError: `state` is not final.
        """

    async def release(self, hold: Hold) -> None:
        """Hand the turn back for somebody else to carry out, with the attempt not counted: a planned stop is no crash.

        Raises:
            LeaseLost.
        """

    async def stop(self, conversation_id: int) -> Stopped:
        """Cancel the queued turn and tell the holder of the running one, which learns of it by `renew`.

        What waited stays in the history and is not answered.
        """

    async def retry(self, conversation_id: int) -> bool:
        """Queue the conversation's last turn again, to answer the same messages anew; its parts are edited in place.

        The old answer stays until the new one is finished. A turn whose messages were all retracted is none. False when
        there is no turn, or an open one, or the conversation has expired.
        """

    async def keep_attachment(
        self, hold: Hold, message_id: int, number: int, data: bytes | None, *, problem: str = ""
    ) -> None:
        """Keep what was read of a message's attachment, or why it can't be read. It goes when the message goes.

        Nothing is kept of an attachment that is not there, or not in the conversation of the turn.

        Raises:
            LeaseLost.
            UnstorableText: in `problem`.
            ValueError: both data and a problem, or neither.
        """

    async def locate(self, name: MessageName) -> Located | None:
        """Find a message by its platform's name: what a user said, or a part of an answer. None when it is not kept here.

        Its conversation may have ended.
        """

    async def facts(self, turn_id: int) -> TurnFacts | None:
        """Return what is known of a turn; None when there is none."""

    async def put_feedback(self, turn_id: int, user: str, value: Feedback, *, at: datetime) -> bool:
        """Keep what a user thinks of a turn's answer, in place of what they thought before. It goes with the turn.

        False when there is no such turn, and nothing is kept.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def conversations_of(
        self, platform: str, workspace: str, author_id: str, *, limit: int
    ) -> tuple[ConversationSummary, ...]:
        """List conversations of a workspace that are a person's by their key or in which the person spoke.

        Current and ended ones, none that has expired; those last active first.

        Raises:
            ValueError: `limit` is below 1 or above `SUMMARIES`, or nobody is named.
        """

    async def revise(self, name: MessageName, text: str) -> Revised | None:
        """Replace the text of a user's message; None when it is not kept here.

        If it belongs to the latest turn of a current conversation, that turn is carried out anew, as by `retry`: at once
        when it has ended, else when it is settled (see there), and its holder is told to stop (`Renewal.stop`). A turn that
        is still queued will read the new text.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def retract(self, names: Collection[MessageName]) -> tuple[int, ...]:
        """Erase users' messages, with the answers that came of them alone; return the ids of their conversations.

        A turn that loses its last message is cancelled. If its reply is shown in part or in full, or somebody holds it, it
        is claimed once more with the error `RETRACTED` and without an answer, to take the reply back. The names stay known:
        a redelivery does not bring the message back. A name that is not kept here is no error.
        """

    async def close(
        self, platform: str, workspace: str, channel: str = "", thread: str = "", *, at: datetime
    ) -> tuple[int, ...]:
        """End every current conversation of a workspace, of one channel with its threads, or of one thread: it is gone.

        What was queued there ends as UNDELIVERABLE. Returns the conversations' ids.

        Raises:
            ValueError: no part is given, which would stand for everybody's direct messages.
        """

    async def watermarks(self, platform: str) -> tuple[Watermark, ...]:
        """Return how far each place of a platform was read, the furthest first."""

    async def mark(self, platform: str, marks: Collection[Watermark], *, at: datetime) -> None:
        """Keep how far places were read; a mark never goes back.

        Marks of threads and direct messages that rest go when the last conversation there is purged.
        """

    async def unmark(self, platform: str, workspace: str, channel: str = "", thread: str = "") -> None:
        """Forget how far a workspace, a channel with its threads, or one thread was read: it is gone.

        Raises:
            ValueError: no part is given.
        """

    async def settings(self, platform: str) -> tuple[ChannelSetting, ...]:
        """Return what operators chose for channels of a platform."""

    async def put_setting(self, setting: ChannelSetting, *, at: datetime) -> None:
        """Keep a setting of a channel; an empty value removes it.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def recall(self, name: str) -> str:
        """Return the note that was kept under `name`, "" when there is none: what an adapter must know after a restart."""

    async def remember(self, name: str, note: str) -> None:
        """Keep a short note under `name`, in place of an earlier one; an empty one removes it.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def once(self, name: str, *, at: datetime) -> bool:
        """Tell whether `name` is told for the first time: of any number of callers, at once or later, one is told True.

        Names are forgotten by `forget_events`.

        Raises:
            UnstorableText: and nothing is stored.
        """

    async def put_installation(self, installation: Installation) -> None:
        """Keep the right to work in a workspace, in place of an earlier one of the same workspace and user.

        Raises:
            UnstorableText: and nothing is stored.
            ValueError: no workspace is given.
        """

    async def installations(self, platform: str, workspace: str = "") -> tuple[Installation, ...]:
        """Return the installations of a platform, or of one workspace of it, the newest first."""

    async def remove_installation(self, platform: str, workspace: str, user: str) -> bool:
        """Erase an installation; False when there is none."""

    async def purge_workspace(self, platform: str, workspace: str) -> int:
        """Erase all that belongs to a workspace and nothing else, for it is gone; return how many conversations went.

        Conversations with all that is in them, settings, watermarks, installations, and notes whose names begin with
        "<platform>/<workspace>/". Running turns lose their leases. The names of deliveries stay until they are forgotten, so
        a redelivery brings nothing back. What is large goes in portions, between which others are served: if this is
        cancelled or the process ends, some of it is left, and calling it again does the rest.

        Raises:
            ValueError: no workspace is given, which would stand for everybody's direct messages.
        """

    async def busy(self, conversation_id: int) -> bool:
        """Tell whether a turn of the conversation is open: queued, running or being delivered."""

    async def end(self, conversation_id: int, *, at: datetime) -> None:
        """Let the key move on: its next message opens a new conversation. This one is kept until its time is up.

        Raises:
            ConversationNotFound.
        """

    async def delete(self, conversation_id: int) -> int:
        """Erase a conversation with its messages, turns and parts, and nothing else; return how many messages went.

        An id that is not there is no error: it is gone, as asked. A running turn loses its lease.
        """

    async def expire(self, *, before: datetime, at: datetime, limit: int) -> int:
        """End and mark for purging at most `limit` conversations last active before `before`, oldest first.

        Never one with an open turn. Returns how many; fewer than `limit` means that no more are due.
        """

    async def purge(self, *, before: datetime, limit: int) -> int:
        """Erase conversations that expired before `before`, at most `limit` rows at once, and return how many went.

        A conversation goes when the last of its messages has gone. One of which a reply is being taken back goes later.
        0 means that nothing is left to purge.
        """

    async def forget_events(self, *, before: datetime, limit: int) -> int:
        """Drop the ids of deliveries seen before `before`, at most `limit`; return how many. No redelivery is that late."""

    async def status(self) -> StoreStatus:
        """Count what waits and runs."""

    async def check(self) -> None:
        """Make sure that the store answers and can write.

        Raises:
            StoreUnavailable.
        """

    async def aclose(self) -> None:
        """Finish what was begun and close; may be called twice."""


class StoreError(Exception):
    """Something is wrong with the store; the message names the remedy and no content."""


class ConversationNotFound(StoreError, LookupError):
    """There is no such conversation."""


class LeaseLost(StoreError):
    """The turn belongs to somebody else by now."""


class UnstorableText(StoreError, ValueError):
    """The text has a character that not every engine can keep."""


class StoreClosed(StoreError):
    """The store is closed."""


class StoreUnavailable(StoreError):
    """The store can't do it now; nothing of the call was kept."""


class StoreRefused(StoreError):
    """The store will not be opened."""


class StoreBusy(StoreRefused):
    """Another process holds it."""


class StoreDenied(StoreRefused):
    """It may not be read or written."""


class NotOurs(StoreRefused):
    """It is not a Parley store."""


class StoreDamaged(StoreRefused):
    """It is a Parley store, and broken."""


class SchemaTooNew(StoreRefused):
    """It was written by a newer Parley."""


def refuse_unstorable(text: str) -> None:
    """Raise `UnstorableText` for what PostgreSQL (NUL) or UTF-8 (lone surrogates) can't keep."""
    if "\0" in text:
        raise UnstorableText("the text holds a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise UnstorableText("the text holds half of a surrogate pair; send valid Unicode") from exc
