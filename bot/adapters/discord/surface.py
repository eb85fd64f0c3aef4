"""What people see of Parley on Discord: messages with buttons, files, typing, and threads that begin at a question.

All of it works from an Address alone. With `placement = thread` an address names the thread that begins at the message it
replies to, which has that message's id, before there is one: the first post makes it. Nothing in it can reply to the
question, which stands in the channel, so that post mentions the asker: it notifies them and brings them in, once, and the
first edit leaves it out. Where there can't be a thread the answer stands in the channel, as a reply.
"""

import hashlib
import itertools
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

import discord
from yarl import URL

from bot.adapters.discord.components import rows
from bot.adapters.discord.endpoints import API_BASE_URL
from bot.adapters.discord.files import PATIENCE, LinkExpired, download, file_hosts
from bot.adapters.discord.own_messages import NO_NONCE, posted_with
from bot.adapters.discord.rest import PAGE, Rest
from bot.adapters.discord.rest_errors import AUTOMOD, FAILURES, Code, translated
from bot.adapters.discord.thread_names import thread_name
from bot.chat.protocol import (
    NO_CONTROLS,
    Address,
    Budget,
    Controls,
    DeliveryError,
    FileOffer,
    FileUnreadable,
    Limits,
    Measure,
    Unreachable,
    Write,
)
from bot.chat.words import FORBIDDEN_BY_RULES
from bot.clock import Clock, time_limit

LONGEST_MESSAGE = 2000
LONGEST_MENTION = len("<@18446744073709551615> ")
LIMITS = Limits(
    part=LONGEST_MESSAGE - LONGEST_MENTION,  # the first message of a thread begins with whom it is for
    parts=10,
    measure=Measure.UTF16,  # Discord counts code points, which are never more
    pace=timedelta(seconds=1.2),  # Discord allows about 5 writes in 5 s for each channel and kind of write
    status=timedelta(seconds=8),  # typing is shown for 10 s
    buttons=True,
)
TYPING_LIMIT = timedelta(seconds=5)
"""A sign of work that takes longer is worth less than the next one."""
FILE_LIMIT = 10 * 1024 * 1024
"""What Discord takes as a file in a server without boosts."""
CHANGES = 3
"""How often a refused message is changed and tried again: without the reply, and with a nonce after one that is used up."""
REMEMBERED = 1000
"""Things that a surface knows of what it did, and can do without: the oldest are forgotten."""

_UNFURLS_NOTHING = discord.MessageFlags(suppress_embeds=True).value
_UNFURLS_NOTHING_SILENTLY = discord.MessageFlags(suppress_embeds=True, suppress_notifications=True).value
# What `discord.AllowedMentions` would make of it depends on the client; these are whole.
_PINGS_NOBODY = {"parse": [], "replied_user": False}
_PINGS_THE_ASKER = {"parse": [], "replied_user": True}

_NO_THREAD_HERE = (
    Code.MISSING_ACCESS,
    Code.MISSING_PERMISSIONS,
    Code.WRONG_CHANNEL_TYPE,
    Code.TOO_MANY_THREADS,
)

_T = TypeVar("_T")
Json = Any


class DiscordSurface:
    """Implements `Surface` on the REST API, in the name of the client that is logged in; see `use`."""

    limits = LIMITS

    def __init__(self, client: discord.Client | None, clock: Clock, *, api_base_url: str = API_BASE_URL) -> None:
        """`api_base_url` is the setting: files are also read from its host when it is not Discord's."""
        self._rest = Rest(client, clock)
        self._clock = clock
        self._file_hosts: frozenset[URL] = file_hosts(api_base_url)
        self._inline: dict[str, None] = {}
        """Threads that could not be made, so their answers stand in the channel; finding out again costs a request."""
        self._nonces: dict[str, str] = {}
        """By message: what we posted it with. Discord does not tell, and two messages may show the same."""

    def use(self, client: discord.Client) -> None:
        """Work with another client from now on: each new connection has its own. Calls are delayed until it is logged in."""
        self._rest.client = client

    def budget(self, address: Address, write: Write) -> Budget:
        return Budget(name=f"discord/{address.thread or address.channel}", pace=self.limits.pace)

    async def working(self, address: Address) -> None:
        """Show the bot as typing: in the channel as long as the thread is not there."""
        with translated(repeatable=True):
            async with time_limit(self._clock, TYPING_LIMIT):
                await self._where_it_is(address, self._rest.type)

    async def post(
        self, address: Address, text: str, *, nonce: str, first: bool = True, controls: Controls = NO_CONTROLS
    ) -> str:
        """Post a message; the `first` of a reply refers to what it answers and notifies its author, others make no sound.

        Discord knows a nonce for a few minutes and returns the message that it belongs to; later only `find` does.

        Raises:
            Unreachable: also when the server's AutoMod takes offence; a sentence that says so is shown instead.
        """
        payload = {
            "content": text,
            "components": rows(controls, nonce),
            "nonce": nonce,
            "enforce_nonce": True,
            "flags": _UNFURLS_NOTHING if first else _UNFURLS_NOTHING_SILENTLY,
            "allowed_mentions": _PINGS_THE_ASKER if first and address.notify else _PINGS_NOBODY,
        }
        if first and address.reply_to:
            payload["message_reference"] = {"message_id": address.reply_to, "fail_if_not_exists": False}
        with translated(repeatable=False):
            posted = await self._unless_forbidden(payload, lambda allowed: self._post(address, allowed))
        _remember(self._nonces, posted, nonce)
        return posted

    async def post_file(
        self, address: Address, name: str, text: str, *, nonce: str, controls: Controls = NO_CONTROLS
    ) -> str:
        """Post a file of at most `FILE_LIMIT` bytes, without a sound.

        Raises:
            Unreachable: also when the bot may not attach files there.
        """
        content = text.encode()
        if len(content) > FILE_LIMIT:
            raise DeliveryError(f"the answer has {len(content)} bytes and Discord takes files of {FILE_LIMIT}")
        payload = {
            "components": rows(controls, nonce),
            "nonce": nonce,
            "enforce_nonce": True,
            "flags": _UNFURLS_NOTHING_SILENTLY,
            "allowed_mentions": _PINGS_NOBODY,
        }
        with translated(repeatable=False):
            try:
                posted = await self._post(address, payload, (name, content))
            except discord.Forbidden as exc:
                if exc.code != Code.MISSING_PERMISSIONS:
                    raise
                raise Unreachable("a long answer is a file: grant the bot Attach Files there") from exc
        _remember(self._nonces, posted, nonce)
        return posted

    async def edit(self, address: Address, message_id: str, text: str, *, controls: Controls = NO_CONTROLS) -> None:
        """Replace text and buttons; links stay folded, and an edit notifies nobody. An archived thread is opened again."""
        payload = {
            "content": text,
            "components": rows(controls, self._nonces.get(message_id, NO_NONCE)),
            # Nobody is notified by an edit; a reply that was to the asker stays marked as such.
            "allowed_mentions": _PINGS_THE_ASKER if address.notify else _PINGS_NOBODY,
        }

        async def edit(allowed: Json) -> None:
            await self._where_it_is(address, lambda place: self._rest.edit_message(place, message_id, allowed))

        with translated(repeatable=True):
            await self._unless_forbidden(payload, edit)

    async def delete(self, address: Address, message_id: str) -> None:
        with translated(repeatable=True):
            try:
                await self._where_it_is(address, lambda place: self._rest.delete_message(place, message_id))
            except discord.NotFound as exc:
                if exc.code not in (Code.UNKNOWN_MESSAGE, Code.UNKNOWN_CHANNEL):
                    raise

    async def find(self, address: Address, *, nonce: str, text: str) -> str | None:
        """Look at the 100 messages behind the one that is answered, and at the newest 100 if there are more; where a thread
        begins at that message, first in the thread and then in the channel.

        It does not see what stands between those, nor anything where the bot may not read the history, and does not know a
        message without buttons by a text that it has shown earlier.
        """
        with translated(repeatable=True):
            *others, last = self._places(address)
            for place in others:
                try:
                    found = await self._find_in(place, address.reply_to, nonce, text)
                except discord.NotFound as exc:
                    if exc.code != Code.UNKNOWN_CHANNEL:
                        raise
                    continue
                if found is not None:
                    return found
            return await self._find_in(last, address.reply_to, nonce, text)

    async def read_file(self, address: Address, message_id: str, file: FileOffer, *, limit: int) -> bytes:
        """Download a file; when its link has expired, with the one that the message has now."""
        try:
            async with time_limit(self._clock, PATIENCE):
                try:
                    return await download(file.url, hosts=self._file_hosts, limit=limit)
                except LinkExpired:
                    link = await self._new_link(address, message_id, file.url)
                    return await download(link, hosts=self._file_hosts, limit=limit)
        except TimeoutError as exc:
            raise FileUnreadable("it took too long to load") from exc

    async def _post(self, address: Address, payload: Json, file: tuple[str, bytes] | None = None) -> str:
        place, *others = self._places(address)
        if not others:
            return await self._post_to(place, payload, file)
        posted = await self._post_in_new_thread(address, payload, file)
        if posted is None:
            posted = await self._post_to(address.channel, payload, file)
            _remember(self._inline, address.thread, None)
        return posted

    async def _post_in_new_thread(self, address: Address, payload: Json, file: tuple[str, bytes] | None) -> str | None:
        """Post in the thread, which is made if it is not there yet; None where the bot can't have one or not write in it."""
        try:
            question: Json = None
            if payload["allowed_mentions"] is _PINGS_THE_ASKER:
                question = await self._question(address)
                payload = _said_to(question["author"]["id"], payload) if question else payload
            try:
                return await self._post_to(address.thread, payload, file)
            except discord.NotFound as exc:
                if exc.code != Code.UNKNOWN_CHANNEL:
                    raise
            await self._begin_thread(address, question or await self._question(address))
            return await self._post_to(address.thread, payload, file)
        except discord.HTTPException as exc:
            if exc.code not in _NO_THREAD_HERE:
                raise
            return None

    async def _post_to(self, place: str, payload: Json, file: tuple[str, bytes] | None) -> str:
        for _ in range(CHANGES):
            try:
                return await self._rest.create_message(place, payload, file)
            except discord.HTTPException as exc:
                changed = _changed(payload, exc)
                if changed is None:
                    raise
                payload = changed
        return await self._rest.create_message(place, payload, file)

    async def _begin_thread(self, address: Address, question: Json) -> None:
        plain = f"Chat with {self._rest.me.display_name}"
        named = thread_name(question["content"]) if question else ""
        for name in (named or plain, plain):
            try:
                return await self._rest.start_thread(address.channel, address.reply_to, name)
            except discord.HTTPException as exc:
                if exc.code == Code.THREAD_EXISTS:
                    return None
                if exc.code not in AUTOMOD or name == plain:
                    raise
        return None

    async def _question(self, address: Address) -> Json:
        """Return the message that the thread begins at; None when it was deleted, or the bot may not read the history."""
        try:
            return await self._rest.message(address.channel, address.reply_to)
        except discord.HTTPException as exc:
            if exc.status != 403 and exc.code != Code.UNKNOWN_MESSAGE:
                raise
            return None

    async def _unless_forbidden(self, payload: Json, write: Callable[[Json], Awaitable[_T]]) -> _T:
        """Write it, or say in its place that the server's rules do not let us."""
        try:
            return await write(payload)
        except discord.HTTPException as exc:
            if exc.code not in AUTOMOD:
                raise
            await write(payload | {"content": FORBIDDEN_BY_RULES, "components": []})
            raise Unreachable(f"the server's AutoMod does not let the answer through (code {exc.code})") from exc

    def _places(self, address: Address) -> list[str]:
        """Where messages of this reply may be, the likelier first."""
        if not _begins_thread(address):
            return [address.thread or address.channel]
        if address.thread in self._inline:
            return [address.channel]
        return [address.thread, address.channel]

    async def _where_it_is(self, address: Address, act: Callable[[str], Awaitable[_T]]) -> _T:
        *others, last = self._places(address)
        for place in others:
            try:
                return await _awake(self._rest, place, act)
            except discord.NotFound as exc:
                if exc.code not in (Code.UNKNOWN_CHANNEL, Code.UNKNOWN_MESSAGE):
                    raise
        return await _awake(self._rest, last, act)

    async def _find_in(self, place: str, after: str, nonce: str, text: str) -> str | None:
        def ours(messages: list[Json]) -> str | None:
            return posted_with(messages, author=self._rest.me.id, nonce=nonce, text=text, known=self._nonces)

        messages = await self._rest.messages(place, after=after)
        found = ours(messages)
        if found is None and after and len(messages) == PAGE:
            found = ours(await self._rest.messages(place))
        return found

    async def _new_link(self, address: Address, message_id: str, expired: str) -> str:
        """Ask for the message again: a link's path stays, only its signature is new."""
        places = dict.fromkeys((address.thread or address.channel, address.channel))
        # Who asks about another's message by its menu sends none of their own: its files are that message's.
        for place, message in itertools.product(places, dict.fromkeys((message_id, address.reply_to))):
            try:
                shown = await self._rest.message(place, message) if message else {}
            except discord.NotFound:
                continue
            except (*FAILURES, DeliveryError) as exc:
                raise FileUnreadable("its link has expired, and Discord gives no new one") from exc
            for link in _links(shown):
                if URL(link).path == URL(expired).path:
                    return link
        raise FileUnreadable("it is no longer there")


def _remember(memory: dict[str, _T], name: str, value: _T) -> None:
    memory[name] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def _begins_thread(address: Address) -> bool:
    return bool(address.thread) and address.thread == address.reply_to and address.thread != address.channel


async def _awake(rest: Rest, place: str, act: Callable[[str], Awaitable[_T]]) -> _T:
    """Do it, in an archived thread after it was opened again."""
    try:
        return await act(place)
    except discord.HTTPException as exc:
        if exc.code != Code.ARCHIVED:
            raise
    await rest.unarchive(place)
    return await act(place)


def _changed(payload: Json, exc: discord.HTTPException) -> Json | None:
    """Return what to post instead, when what was refused can be left out."""
    no_reply = exc.code == Code.NO_HISTORY_FOR_REPLY or (
        exc.code == Code.INVALID_FORM and "message_reference" in exc.text  # such as a reply to a system message
    )
    if no_reply and "message_reference" in payload:
        return {name: value for name, value in payload.items() if name != "message_reference"}
    if exc.code == Code.UNKNOWN_MESSAGE:  # a message with this nonce was deleted minutes ago
        return payload | {"nonce": _next(payload["nonce"])}
    return None


def _said_to(asker: str, payload: Json) -> Json:
    """Begin a message with whom it is for."""
    return payload | {
        "content": f"<@{asker}> {payload['content']}",
        "allowed_mentions": {"parse": [], "users": [asker], "replied_user": False},
    }


def _next(nonce: str) -> str:
    return hashlib.sha256(nonce.encode()).hexdigest()[:25]


def _links(message: Json) -> Iterable[str]:
    """The links of a message's files and of those of the messages that it forwards."""
    forwarded = [snapshot["message"] for snapshot in message.get("message_snapshots", ())]
    return [file["url"] for part in (message, *forwarded) for file in part.get("attachments", ())]
