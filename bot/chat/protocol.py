"""The words between adapters and the chat: messages in, replies out, commands, and how delivery fails.

DeliveryError                 every failure to show something to people
├── Unreachable               the place is gone for good: deleted, kicked, blocked. The turn ends as undeliverable
├── MessageGone               the message is not there any more; the place is
├── DeliveryDelayed           try again, not before `retry_after`
└── OutcomeUnknown            the call may or may not have taken effect; look (`Surface.find`) before posting again

FileUnreadable                a file that people sent can't be had; the message says why, for people
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Protocol

from bot.chat.callers import Caller, Standing
from store import ConversationKey


class Place(StrEnum):
    """The kinds of place where people talk; DESIGN §4 gives each its conversation key."""

    DIRECT = "direct"
    CHANNEL = "channel"
    THREAD = "thread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a reply goes. It is stored with the turn, so that another process can deliver it (DESIGN §2).

    `notify`: who wrote the message that is replied to is told of the reply; they need not be the ones who asked.
    """

    platform: str
    workspace: str
    channel: str
    thread: str = ""
    reply_to: str = ""
    notify: bool = True

    def encode(self) -> str:
        """Write the address as the text that is stored with a turn."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decode(cls, stored: str) -> "Address":
        """Read what `encode` wrote.

        Raises:
            Unreachable: it is damaged, so nobody knows where the reply goes.
        """
        try:
            return cls(**json.loads(stored))
        except (ValueError, TypeError, RecursionError) as exc:
            raise Unreachable("the address that is stored with the turn can't be read") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Another message that a message shows: one that it replies to, or a forwarded one, whose author may be unknown ("")."""

    author_name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOffer:
    """A file that came with a message: not read yet. `size` is in bytes, as the platform says."""

    name: str
    media_type: str
    size: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """What a person said, as every platform's adapter hands it in; no SDK object passes this line.

    `position` is the platform's own order within the channel (a snowflake, a Slack `ts` in microseconds), None where the
    platform has none. `event_id` names the delivery, `message_id` the message: redeliveries repeat them.
    """

    place: Place
    address: Address
    event_id: str
    message_id: str
    position: int | None
    author_id: str
    author_name: str
    text: str
    sent_at: datetime
    standing: Standing
    addressed: bool
    """The message speaks to the bot: a mention, a reply to it, a command."""
    category: str = ""
    """What the channel stands under, where a platform has such a thing."""
    from_bot: bool = False
    answers: str = ""
    """The message of ours that it replies to, by its platform id: the reply belongs to that message's conversation.

    That message is then the first of `quotes` too, for when its conversation is not kept any more.
    """
    quotes: tuple[Quote, ...] = ()
    files: tuple[FileOffer, ...] = ()

    @property
    def caller(self) -> Caller:
        """Who said it, and where."""
        return _caller(self.place, self.address, self.author_id, self.standing, self.category)


def _caller(place: Place, where: Address, author_id: str, standing: Standing, category: str) -> Caller:
    return Caller(
        platform=where.platform,
        workspace=where.workspace,
        channel=where.channel,
        user_id=author_id,
        standing=standing,
        category=category,
        direct=place is Place.DIRECT,
    )


class Control(StrEnum):
    """What a button under an answer does."""

    STOP = "stop"
    RETRY = "retry"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """The buttons under one message, and the turn that they act on."""

    turn_id: int = 0
    offered: tuple[Control, ...] = ()


NO_CONTROLS = Controls()


class Measure(Enum):
    """The unit in which a platform counts a text's length."""

    CHARACTERS = "characters"
    UTF16 = "utf-16 units"
    BYTES = "utf-8 bytes"

    def of(self, text: str) -> int:
        """Count `text` in this unit."""
        match self:
            case Measure.CHARACTERS:
                return len(text)
            case Measure.UTF16:
                return len(text.encode("utf-16-le")) // 2
            case Measure.BYTES:
                return len(text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a surface bears. `part` is the longest text of one message, in `measure`; beyond `parts` messages a reply
    becomes a file; `pace` is the usual time between two writes on one budget; `status` is how long a sign of work lasts;
    without `buttons`, controls are not shown and cost no write; without `file_buttons`, a file's stand under the text before
    it."""

    part: int
    parts: int = 10
    measure: Measure = Measure.UTF16
    pace: timedelta = timedelta(seconds=1.2)
    status: timedelta = timedelta(seconds=8)
    buttons: bool = False
    file_buttons: bool = True


class Write(Enum):
    """What a write does; some platforms count each kind by itself."""

    POST = "post"
    EDIT = "edit"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a platform lets us write: one write per `pace`, shared by all that draw on the same name; by those of other
    replicas too when it is `shared`."""

    name: str
    pace: timedelta
    shared: bool = True


class Surface(Protocol):
    """One platform's side that people see. Every method takes the reply's address; none keeps a turn's state.

    Raises (all methods): DeliveryError, never an SDK's error.
    """

    limits: Limits

    def budget(self, address: Address, write: Write) -> Budget:
        """Return the budget that such a write to `address` draws on: one channel's, or one workspace's."""

    async def working(self, address: Address) -> None:
        """Show that an answer is on its way (typing, a status, a spinner); it lasts `limits.status` or until a post."""

    async def post(
        self, address: Address, text: str, *, nonce: str, first: bool = True, controls: Controls = NO_CONTROLS
    ) -> str:
        """Post `text` as a new message and return its platform id. Only the `first` message of a reply notifies its asker.

        A platform that knows nonces returns the message that an earlier call with the same nonce made.

        Raises:
            OutcomeUnknown: the message may be there.
        """

    async def post_file(
        self, address: Address, name: str, text: str, *, nonce: str, controls: Controls = NO_CONTROLS
    ) -> str:
        """Post `text` as a file called `name` and return the message's platform id."""

    async def edit(self, address: Address, message_id: str, text: str, *, controls: Controls = NO_CONTROLS) -> None:
        """Replace the text and the buttons of a message; repeating it changes nothing.

        Raises:
            MessageGone: it was removed.
        """

    async def delete(self, address: Address, message_id: str) -> None:
        """Remove a message of ours; one that is gone already is no error."""

    async def find(self, address: Address, *, nonce: str, text: str) -> str | None:
        """Look for the message that was posted with `nonce`; None when it is surely not there.

        `text` is what it would show now, for a platform that does not tell the nonces of older messages.
        """

    async def read_file(self, address: Address, message_id: str, file: FileOffer, *, limit: int) -> bytes:
        """Read a file that came with the message `message_id`, at most its first `limit` bytes.

        Raises:
            FileUnreadable.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCall:
    """A command as somebody typed it: `name` from the table, the rest of the line as `argument`; `place` is where."""

    name: str
    argument: str
    place: Place
    key: ConversationKey
    address: Address
    author_id: str
    author_name: str
    standing: Standing
    at: datetime
    category: str = ""

    @property
    def caller(self) -> Caller:
        """Who typed it, and where."""
        return _caller(self.place, self.address, self.author_id, self.standing, self.category)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFile:
    """A file that comes with a command's reply, for its caller alone."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReply:
    """What the caller is told; `private` replies are for the caller's eyes only, `columns` want letters of one width.

    `files` are only with private replies. A surface that can't show them where the command was typed sends them to the
    caller directly, and says so.
    """

    text: str
    private: bool = True
    columns: bool = False
    files: tuple[ReplyFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlCall:
    """A button as somebody pressed it. `message_id` is a name for the press, `position` its place in the channel's order."""

    control: Control
    turn_id: int
    place: Place
    address: Address
    message_id: str
    position: int | None
    author_id: str
    author_name: str
    standing: Standing
    at: datetime
    category: str = ""

    @property
    def caller(self) -> Caller:
        """Who pressed it, and where."""
        return _caller(self.place, self.address, self.author_id, self.standing, self.category)


class DeliveryError(Exception):
    """Something could not be shown to people."""


class Unreachable(DeliveryError):
    """The place is gone for good; trying again would change nothing."""


class MessageGone(DeliveryError):
    """The message to edit is not there any more; the place is."""


class DeliveryDelayed(DeliveryError):
    """The platform asks to wait, or can't be reached now."""

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(DeliveryError):
    """The answer to a write was lost: it may have taken effect."""


class FileUnreadable(Exception):
    """A file can't be had; the message says why in a few words for people, such as "it is no longer there"."""
