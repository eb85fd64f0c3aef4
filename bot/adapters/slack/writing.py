"""Whole messages: posts and updates in the best form that a workspace takes, which is found out by trying."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.adapters.slack.api_errors import SlackRefused
from bot.adapters.slack.blocks import Dialect, buttons, content, plain
from bot.adapters.slack.memory import remember
from bot.adapters.slack.own_messages import metadata
from bot.adapters.slack.web_api import WebApi
from bot.chat.protocol import Address, Controls, OutcomeUnknown
from bot.clock import Clock

LEARNT = timedelta(hours=1)
"""How long a workspace is believed to take no more than it took: it may have been one message that Slack did not like."""
BLOCKS_REFUSED = frozenset({"invalid_blocks", "invalid_blocks_format", "unsupported_block_type"})

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What a message is to show."""

    text: str
    controls: Controls
    nonce: str


@dataclass(slots=True)
class Writer:
    """Writes messages by way of `api`.

    Raises (all methods): DeliveryError, SlackRefused among them.
    """

    api: WebApi
    clock: Clock
    _dialects: dict[str, tuple[Dialect, timedelta]] = field(default_factory=dict)
    """By workspace, where it is not the best one, and until when."""

    def dialect(self, workspace: str) -> Dialect:
        """Return what a workspace is known to take."""
        learnt, until = self._dialects.get(workspace, (Dialect(), timedelta()))
        return learnt if self.clock.monotonic() < until else Dialect()

    async def post(self, address: Address, writing: Writing) -> str:
        """Post a message and return its ts. Nothing in it unfolds, and names in it are no links."""

        async def post(shown: Json) -> str:
            answer = await self.api.ask(
                address.workspace,
                lambda client: client.chat_postMessage(
                    channel=address.channel,
                    thread_ts=address.thread or None,
                    metadata=metadata(writing.nonce),
                    unfurl_links=False,
                    unfurl_media=False,
                    parse="none",
                    **shown,
                ),
                repeatable=False,
            )
            if not answer.get("ts"):
                raise OutcomeUnknown("Slack's answer to a post names no message")
            return str(answer["ts"])

        while True:
            dialect = self.dialect(address.workspace)
            try:
                return await post(content(writing.text, writing.controls, writing.nonce, dialect))
            except SlackRefused as exc:
                self._simplify(address.workspace, dialect, exc)

    async def update(self, address: Address, message_id: str, writing: Writing) -> None:
        """Replace what a message shows."""

        async def update(shown: Json) -> None:
            await self.api.ask(
                address.workspace,
                lambda client: client.chat_update(
                    channel=address.channel, ts=message_id, metadata=metadata(writing.nonce), parse="none", **shown
                ),
            )

        while True:
            dialect = self.dialect(address.workspace)
            shown = content(writing.text, writing.controls, writing.nonce, dialect)
            try:
                return await update(shown)
            except SlackRefused as exc:
                if exc.code == "block_mismatch":  # it was streamed, and what was rich text has to stay it
                    row = buttons(writing.controls, writing.nonce, dialect)
                    return await update(shown | {"blocks": plain(writing.text) + row})
                self._simplify(address.workspace, dialect, exc)

    def _simplify(self, workspace: str, tried: Dialect, refusal: SlackRefused) -> None:
        """Learn from a refusal; raise it when nothing simpler is left."""
        simpler = tried.without(refusal.where) if refusal.code in BLOCKS_REFUSED else None
        if simpler is None:
            raise refusal
        if self.dialect(workspace) == tried:  # otherwise somebody else has learnt already
            remember(self._dialects, workspace, (simpler, self.clock.monotonic() + LEARNT))
