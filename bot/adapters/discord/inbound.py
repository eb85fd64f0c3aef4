"""A Discord message as we take it in: who said what to whom, with mentions made readable. Pure.

Laws, proved in `tests/adapters/discord/test_inbound.py`: nothing is made of our own messages, of webhooks and of system
messages; no text that comes out can ping anybody, however often it is said again.
"""

import mimetypes
import re
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import discord

from bot.adapters.discord.places import PLATFORM
from bot.adapters.where import Where
from bot.chat.callers import Standing
from bot.chat.protocol import Address, FileOffer, IncomingMessage, Place, Quote

SAID_BY_PEOPLE = (discord.MessageType.default, discord.MessageType.reply)
"""Every other type is a system message: somebody joined, pinned, boosted, began a thread."""
UNKNOWN_TYPE = "application/octet-stream"

_MARKUP = re.compile(
    r"<(?:@!?(?P<user>[0-9]{1,20})|@&(?P<role>[0-9]{1,20})|\#(?P<channel>[0-9]{1,20})"
    r"|a?:(?P<emoji>\w{1,32}):[0-9]{1,20}|/(?P<command>[^:<>]{1,100}):[0-9]{1,20})>"
)
_SEPARATORS = string.whitespace + ","
_PING = re.compile(r"<(?=@[!&]?[0-9])|@(?=everyone|here)")


class Said(Protocol):
    """What a message and a forwarded snapshot of one have in common."""

    @property
    def content(self) -> str: ...
    @property
    def attachments(self) -> Sequence[discord.Attachment]: ...
    @property
    def stickers(self) -> Sequence[discord.StickerItem]: ...


def is_speech(message: discord.Message, us: int) -> bool:
    """Tell whether somebody else said it: neither we, nor a webhook, nor Discord itself."""
    return message.author.id != us and message.webhook_id is None and message.type in SAID_BY_PEOPLE


def incoming(
    message: discord.Message,
    where: Where,
    *,
    us: int,
    own_roles: Collection[int],
    standing: Standing,
    category: str = "",
    content: bool = True,
) -> IncomingMessage | None:
    """Normalise a message; None when it is nothing that somebody said to be heard.

    `us` is our user's id, `own_roles` those of the roles that Discord made for us, `standing` what its author is there and
    `category` what the channel stands under. Without `content` we may read only what is said to us: an empty message in a
    guild is one that we may not read.
    """
    if not is_speech(message, us):
        return None
    replied = _replied(message)
    answers = str(replied.id) if replied is not None and replied.author.id == us else ""
    mentioned = any(user.id == us for user in message.mentions)
    # By the text: Discord does not list a role that its author may not ping, and they mean us all the same.
    mentioned = mentioned or not set(message.raw_role_mentions).isdisjoint(own_roles)
    empty = not (message.content or message.attachments or message.stickers)
    if not content and empty and not mentioned and where.place is not Place.DIRECT:
        return None
    names = _Names(message)
    return IncomingMessage(
        place=where.place,
        address=Address(
            platform=PLATFORM,
            workspace=where.workspace,
            channel=where.channel,
            thread=where.thread,
            reply_to=str(message.id),
        ),
        event_id="",
        message_id=str(message.id),
        position=message.id,
        author_id=str(message.author.id),
        author_name=message.author.display_name,
        text=_said(names.readable(_without_our_mention(message.content, us, own_roles)), message, message.poll),
        sent_at=message.created_at,
        standing=standing,
        category=category,
        addressed=where.place is Place.DIRECT or mentioned or bool(answers),
        from_bot=message.author.bot,
        answers=answers,
        quotes=tuple(_quotes(message, replied, names)),
        files=tuple(_offers(message)),
    )


def _replied(message: discord.Message) -> discord.Message | None:
    reference = message.reference
    if reference is None or reference.type is not discord.MessageReferenceType.reply:
        return None
    return reference.resolved if isinstance(reference.resolved, discord.Message) else None


def _quotes(message: discord.Message, replied: discord.Message | None, names: "_Names") -> Iterable[Quote]:
    if replied is not None:
        text = _said(_Names(replied, names).readable(replied.content), replied, replied.poll, files=True)
        yield Quote(author_name=replied.author.display_name, text=text)
    for shot in message.message_snapshots:
        yield Quote(author_name="", text=_said(names.readable(shot.content), shot, None))


def _without_our_mention(text: str, us: int, own_roles: Collection[int]) -> str:
    """Take our mention out where it is a form of address; inside a sentence it is a word of it."""
    ours = (f"<@{us}>", f"<@!{us}>", *(f"<@&{role}>" for role in own_roles))
    text = re.sub(rf"\A\s*(?:(?:{'|'.join(ours)})\s*[,:]?\s*)+", "", text)
    # By hand: a pattern for the end is tried anew at each of 4,000 blanks, which takes 30 ms of everybody's time.
    while (spoken := text.rstrip()).endswith(ours):
        text = spoken[: spoken.rindex("<")].rstrip(_SEPARATORS)
    return text


class _Names:
    """The readable names of what a message mentions: from its own list, the guild, and the message that quotes it."""

    def __init__(self, message: discord.Message, further: "_Names | None" = None) -> None:
        self._guild = message.guild
        self._users: Mapping[int, str] = {
            **(further._users if further is not None else {}),
            **{user.id: user.display_name for user in message.mentions},
        }

    def readable(self, text: str) -> str:
        """Replace Discord's markup by the names that people see."""
        return _MARKUP.sub(self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        if user := found["user"]:
            return "@" + self._users.get(int(user), "unknown-user")
        if role := found["role"]:
            known = self._guild.get_role(int(role)) if self._guild is not None else None
            return "@" + (known.name if known is not None else "unknown-role")
        if channel := found["channel"]:
            place = self._guild.get_channel_or_thread(int(channel)) if self._guild is not None else None
            return "#" + (place.name if place is not None else "unknown-channel")
        return f":{found['emoji']}:" if found["emoji"] else f"/{found['command']}"


def _said(text: str, said: Said, poll: discord.Poll | None, *, files: bool = False) -> str:
    """Put what is not text behind the text, one line each. `files`: name those too, where nobody offers them."""
    lines = [text] if text else []
    lines += [f"(sticker: {sticker.name})" for sticker in said.stickers]
    if poll is not None:
        lines.append(f"(poll: {poll.question} {' / '.join(answer.text for answer in poll.answers)})")
    if files:
        lines += [f"(file: {file.filename})" for file in said.attachments]
    # Last of all: a name may hold what makes a mention together with the text around it.
    return _PING.sub(lambda ping: ping[0] + "\u200b", "\n".join(lines))


def _offers(message: discord.Message) -> Iterable[FileOffer]:
    forwarded = (file for shot in message.message_snapshots for file in shot.attachments)
    for file in (*message.attachments, *forwarded):
        guessed = mimetypes.guess_type(file.filename)[0]
        yield FileOffer(
            name=file.filename, media_type=file.content_type or guessed or UNKNOWN_TYPE, size=file.size, url=file.url
        )


def shown_by(message: discord.Message) -> tuple[Quote, ...]:
    """Quote a message that somebody points at: what it says, and what it forwards. Its files are `offered_by` it."""
    names = _Names(message)
    own = Quote(author_name=message.author.display_name, text=_said(names.readable(message.content), message, message.poll))
    return (own, *_quotes(message, None, names))


def offered_by(message: discord.Message) -> tuple[FileOffer, ...]:
    """List the files of a message that somebody points at."""
    return tuple(_offers(message))
