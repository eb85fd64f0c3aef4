"""Slack's own streams: a message that grows without edits, in the threads of direct messages.

A stream lives about five minutes, whatever is written; it is left before that, and the message goes on by updates. How large
it may grow (refusals are reported from 10,600 bytes on) no part of an answer reaches. Nothing about a stream outlives the
process: whoever finds a message streaming that it does not know ends the stream and updates the message.

In channels one person alone would see a stream grow, so there everything is updates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from bot.adapters.slack.allowances import Allowance
from bot.adapters.slack.api_errors import MOMENT, SlackRefused, asks_to_wait
from bot.adapters.slack.blocks import buttons
from bot.adapters.slack.memory import remember
from bot.adapters.slack.neutral import before_links, neutral, settled
from bot.adapters.slack.own_messages import metadata
from bot.adapters.slack.web_api import WebApi
from bot.adapters.slack.writing import Writer, Writing
from bot.chat.protocol import Address, Budget, DeliveryDelayed, MessageGone, OutcomeUnknown
from bot.clock import Clock

LIFE = timedelta(minutes=4)
"""Slack ends a stream five minutes after its start."""
STARTS = 20
"""Starts, and ends, that a workspace has in a minute. The answers beyond are posted and updated."""
APPENDS = timedelta(seconds=0.6)
"""The time between two appends in a workspace, which has 100 a minute."""

_NEVER_AGAIN = frozenset({"feature_not_enabled", "method_deprecated", "unknown_method"})

log = structlog.get_logger(__name__)

OnStopped = Callable[[Address], None]


@dataclass(slots=True)
class _Stream:
    address: Address
    started: timedelta
    sent: str
    """What it shows, in its neutral form."""
    sure: bool = True
    """What it shows is known: no answer is missing."""
    stopped: bool = False
    """A person stopped it. What it shows stays until the answer is finished."""


class Streams:
    """The streams that this process has begun and not ended."""

    def __init__(
        self, api: WebApi, writer: Writer, clock: Clock, on_stopped: OnStopped, *, replicas: Callable[[], int] = lambda: 1
    ) -> None:
        """`on_stopped` is called when an append finds that a person stopped the stream; `replicas` tells how many share
        what Slack allows."""
        self._api = api
        self._writer = writer
        self._clock = clock
        self._on_stopped = on_stopped
        self._open: dict[tuple[str, str], _Stream] = {}
        """By channel and ts."""
        self._starts = Allowance(clock, STARTS, replicas)
        self._off: set[str] = set()
        """Workspaces that have no streams."""

    def budget(self, address: Address) -> Budget | None:
        """The budget of edits to `address`, if they are appends: when there is a stream."""
        young = self._clock.monotonic() - LIFE
        if any(
            stream.address == address and not stream.stopped and stream.started > young for stream in self._open.values()
        ):
            return Budget(name=f"slack/{address.workspace}/chat.appendStream", pace=APPENDS)
        return None

    async def start(self, address: Address, text: str) -> str | None:
        """Begin a message that grows, and return its ts; None where it has to be posted.

        Raises:
            OutcomeUnknown, and any other DeliveryError.
        """
        if not self._may_start(address):
            return None
        # Links unfold when a message is posted and never when it is edited; a stream's start can't be told not to.
        beginning = before_links(neutral(settled(text)))
        try:
            answer = await self._api.ask(
                address.workspace,
                lambda client: client.chat_startStream(
                    channel=address.channel, thread_ts=address.thread, markdown_text=beginning or None
                ),
                repeatable=False,
            )
        except SlackRefused as exc:
            self._learn(address.workspace, exc)
            return None
        except DeliveryDelayed as exc:
            if not asks_to_wait(exc):
                raise
            self._starts.used_up(address.workspace, lasting=exc.retry_after)
            return None
        if not answer.get("ts"):
            raise OutcomeUnknown("Slack's answer to a stream's start names no message")
        remember(self._open, (address.channel, answer["ts"]), _Stream(address, self._clock.monotonic(), beginning))
        return str(answer["ts"])

    async def grow(self, address: Address, ts: str, text: str) -> bool:
        """Let a message show `text`, as far as it is settled; False when that needs an update."""
        stream = self._open.get((address.channel, ts))
        if stream is None:
            return False
        if stream.stopped:
            return True
        shown = neutral(settled(text))
        if not self._goes_on(stream, shown):
            await self.end(address, ts)
            return False
        if shown == stream.sent:
            return True
        rest = shown[len(stream.sent) :]
        try:
            await self._append(stream, ts, rest)
        except SlackRefused as exc:
            if exc.code == "stopped_by_user":
                stream.stopped = True
                self._on_stopped(stream.address)
                return True
            self._learn(address.workspace, exc)
            await self.end(address, ts)
            return False
        stream.sent = shown
        return True

    async def finish(self, address: Address, ts: str, writing: Writing, *, session_status: str | None) -> bool:
        """Let a message show its last text and buttons, and end its stream; False when that needs an update."""
        stream = self._open.get((address.channel, ts))
        if stream is None:
            return False
        shown = neutral(writing.text)
        if stream.stopped or not self._goes_on(stream, shown):
            await self.end(address, ts)
            return False
        rest = shown[len(stream.sent) :]
        blocks = buttons(writing.controls, writing.nonce, self._writer.dialect(address.workspace))
        last: dict[str, Any] = {"markdown_text": rest or None, "blocks": blocks or None, "session_status": session_status}
        try:
            await self._api.ask(
                address.workspace,
                lambda client: client.chat_stopStream(
                    channel=address.channel, ts=ts, metadata=metadata(writing.nonce), **last
                ),
                repeatable=False,
            )
        except SlackRefused as exc:
            self._learn(address.workspace, exc)
            await self.end(address, ts)
            return False
        except OutcomeUnknown as exc:
            # If it did, it will refuse the next try, which then becomes an update.
            raise DeliveryDelayed("Slack did not tell whether the stream ended", retry_after=MOMENT) from exc
        except MessageGone:
            self._forget(address, ts)
            raise
        self._forget(address, ts)
        return True

    async def end(self, address: Address, ts: str) -> None:
        """End a stream, whoever began it, so that the message can be updated or deleted; one that has ended is no error."""
        stream = self._open.pop((address.channel, ts), None)
        if stream is not None and stream.stopped:
            return
        try:
            await self._api.ask(address.workspace, lambda client: client.chat_stopStream(channel=address.channel, ts=ts))
        except SlackRefused as exc:
            log.info("slack.stream_not_ended", code=exc.code)
        except DeliveryDelayed:
            if stream is not None:  # so that it is ended by the next try
                stream.sure = False
                remember(self._open, (address.channel, ts), stream)
            raise

    async def _append(self, stream: _Stream, ts: str, rest: str) -> None:
        stream.sure = False  # until the answer is here, also when we are cancelled
        try:
            await self._api.ask(
                stream.address.workspace,
                lambda client: client.chat_appendStream(channel=stream.address.channel, ts=ts, markdown_text=rest),
                repeatable=False,
            )
        except OutcomeUnknown as exc:
            raise DeliveryDelayed("Slack did not tell whether the text was added", retry_after=MOMENT) from exc
        except DeliveryDelayed:
            stream.sure = True  # it was refused whole
            raise
        except MessageGone:
            self._forget(stream.address, ts)
            raise
        stream.sure = True

    def _may_start(self, address: Address) -> bool:
        suits = address.channel.startswith("D") and address.thread and address.workspace not in self._off
        return bool(suits) and self._starts.take(address.workspace)

    def _goes_on(self, stream: _Stream, shown: str) -> bool:
        young = self._clock.monotonic() - stream.started < LIFE
        return young and stream.sure and shown.startswith(stream.sent)

    def _learn(self, workspace: str, refusal: SlackRefused) -> None:
        log.info("slack.stream_refused", code=refusal.code)
        if refusal.code in _NEVER_AGAIN:
            self._off.add(workspace)

    def _forget(self, address: Address, ts: str) -> None:
        self._open.pop((address.channel, ts), None)
