"""What people see of Parley on Slack: messages with buttons, streams in direct messages, files, and signs of work.

All of it works from an Address alone. What this process knows besides (streams, nonces, what a workspace refuses) only saves
requests, or tells messages apart that are alike.
"""

from collections.abc import Callable
from datetime import timedelta

from bot.adapters.slack.action_ids import NO_NONCE
from bot.adapters.slack.api_errors import SlackRefused
from bot.adapters.slack.clients import SLACK, SlackClients
from bot.adapters.slack.files import Files
from bot.adapters.slack.memory import remember
from bot.adapters.slack.search import Search
from bot.adapters.slack.signs import Signs
from bot.adapters.slack.streams import Streams
from bot.adapters.slack.uploads import Uploads
from bot.adapters.slack.web_api import WebApi
from bot.adapters.slack.writing import Writer, Writing
from bot.chat.protocol import (
    NO_CONTROLS,
    Address,
    Budget,
    Control,
    Controls,
    FileOffer,
    Limits,
    Measure,
    MessageGone,
    Write,
)
from bot.clock import Clock

UPDATES = timedelta(seconds=1.25)
"""The time between two `chat.update`s of a workspace, which has 50 a minute; the same holds for `chat.delete`."""
POSTS = timedelta(seconds=1)
"""The time between two messages in one channel."""
LIMITS = Limits(
    # In any script at most 9,000 bytes, which a stream bears; below the 4,000 characters that `chat.update` takes; and with
    # everything escaped, where Markdown is refused, about what the blocks of one message may hold (13,200).
    part=3_000,
    parts=10,
    measure=Measure.UTF16,
    pace=UPDATES,
    status=timedelta(seconds=60),  # Slack takes a status line away after 2 minutes
    buttons=True,
    file_buttons=False,  # what shares a file takes texts beside it and no buttons
)

_HELD_BY_STREAM = frozenset({"cant_delete_message", "streaming_state_conflict"})


class SlackSurface:
    """Implements `Surface` on the Web API."""

    limits = LIMITS

    def __init__(
        self,
        clients: SlackClients,
        clock: Clock,
        *,
        api_base_url: str = SLACK,
        on_stopped: Callable[[Address], None] = lambda _: None,
        replicas: Callable[[], int] = lambda: 1,
    ) -> None:
        """`api_base_url` is the setting: files are also read from its host. `on_stopped` is called when Slack tells, in
        answer to a write, that a person pressed its own Stop; `replicas` tells how many share what Slack allows."""
        api = WebApi(clients, clock)
        self._api = api
        self._writer = Writer(api, clock)
        self._streams = Streams(api, self._writer, clock, on_stopped, replicas=replicas)
        self._signs = Signs(api, clock, replicas=replicas)
        self._uploads = Uploads(api, clock)
        self._search = Search(api)
        self._files = Files(clients, clock, api_base_url=api_base_url)
        self._nonces: dict[str, str] = {}
        """By ts: what we posted a message with; two workspaces do not write at the same microsecond."""

    def budget(self, address: Address, write: Write) -> Budget:
        workspace = f"slack/{address.workspace}"
        match write:
            case Write.POST:
                return Budget(name=f"{workspace}/{address.channel}/chat.postMessage", pace=POSTS)
            case Write.EDIT:
                return self._streams.budget(address) or Budget(name=f"{workspace}/chat.update", pace=UPDATES)
            case Write.DELETE:
                return Budget(name=f"{workspace}/chat.delete", pace=UPDATES)

    async def working(self, address: Address) -> None:
        """Show a status line in the thread, or in the one that the question would begin."""
        await self._signs.show(address)

    async def post(
        self, address: Address, text: str, *, nonce: str, first: bool = True, controls: Controls = NO_CONTROLS
    ) -> str:
        """Post a message; a growing one becomes a stream where that is possible. Nobody is notified but as Slack does by
        itself: those who follow the thread."""
        growing = _grows(controls)
        posted = await self._streams.start(address, text) if growing else None
        if posted is None:
            posted = await self._writer.post(address, Writing(text=text, controls=controls, nonce=nonce))
        remember(self._nonces, posted, nonce)
        await self._signs.clear(address)
        await self._tell_session(address, growing=growing)
        return posted

    async def post_file(
        self, address: Address, name: str, text: str, *, nonce: str, controls: Controls = NO_CONTROLS
    ) -> str:
        """Post a file; it has no buttons, see `LIMITS`."""
        posted = await self._uploads.post(address, name, text, nonce=nonce)
        remember(self._nonces, posted, nonce)
        await self._signs.clear(address)
        await self._tell_session(address, growing=False)
        return posted

    async def edit(self, address: Address, message_id: str, text: str, *, controls: Controls = NO_CONTROLS) -> None:
        """Replace text and buttons; a stream goes on, or ends with the last text."""
        growing = _grows(controls)
        writing = Writing(text=text, controls=controls, nonce=self._nonces.get(message_id, NO_NONCE))
        if growing:
            streamed = await self._streams.grow(address, message_id, text)
        else:
            status = "active" if self._signs.is_at_work(address) else None
            streamed = await self._streams.finish(address, message_id, writing, session_status=status)
            if streamed and status:
                self._signs.noted_finished(address)
        if not streamed:
            await self._update(address, message_id, writing)
        await self._tell_session(address, growing=growing)

    async def delete(self, address: Address, message_id: str) -> None:
        async def delete() -> None:
            await self._api.ask(address.workspace, lambda client: client.chat_delete(channel=address.channel, ts=message_id))

        try:
            try:
                await delete()
            except SlackRefused as exc:
                if exc.code not in _HELD_BY_STREAM:
                    raise
                await self._streams.end(address, message_id)
                await delete()
        except MessageGone:
            pass
        await self._tell_session(address, growing=False)

    async def find(self, address: Address, *, nonce: str, text: str) -> str | None:
        """Look behind the message that is answered; see `Search`."""
        found = await self._search.find(address, nonce=nonce, text=text, known=self._nonces)
        if found is not None:
            remember(self._nonces, found, nonce)
        return found

    async def read_file(self, address: Address, message_id: str, file: FileOffer, *, limit: int) -> bytes:
        return await self._files.read(address, file, limit=limit)

    async def _update(self, address: Address, message_id: str, writing: Writing) -> None:
        try:
            await self._writer.update(address, message_id, writing)
        except SlackRefused as exc:
            if exc.code not in _HELD_BY_STREAM:
                raise
            await self._streams.end(address, message_id)  # begun by a process that is no more
            await self._writer.update(address, message_id, writing)

    async def _tell_session(self, address: Address, *, growing: bool) -> None:
        """A message that grows is an agent at work; the next part of an answer begins right behind the one before."""
        await (self._signs.begin(address) if growing else self._signs.finish(address))


def _grows(controls: Controls) -> bool:
    return Control.STOP in controls.offered
