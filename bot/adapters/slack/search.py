"""Looking for a message of ours behind the one that it answers, in the few requests that Slack may allow.

A thread is listed oldest first, so the first page behind the question is where its answer is; a channel is listed newest
first. Apps that are sold outside of Slack's Marketplace see 15 messages a minute: a look that is cut off by that goes on
where it was.
"""

from collections.abc import Mapping
from typing import Any

from bot.adapters.slack.api_errors import ThreadGone
from bot.adapters.slack.memory import remember
from bot.adapters.slack.own_messages import posted_with
from bot.adapters.slack.stamps import position_of
from bot.adapters.slack.web_api import WebApi
from bot.chat.protocol import Address, DeliveryDelayed

PAGE = 200
PAGES = 2

Json = Any


class Search:
    """Looks at threads, channels and direct messages."""

    def __init__(self, api: WebApi) -> None:
        self._api = api
        self._cut_off: dict[tuple[str, str], str] = {}
        """By channel and nonce: the cursor of the page that Slack did not give yet."""

    async def find(self, address: Address, *, nonce: str, text: str, known: Mapping[str, str]) -> str | None:
        """Return the ts of the message that was posted with `nonce`; see `posted_with`. It is not seen more than `PAGES`
        pages away.

        Raises:
            DeliveryError.
        """
        me = await self._api.clients.me(address.workspace)
        after = _place(address.reply_to) or 0
        looked = (address.channel, nonce)
        cursor = self._cut_off.pop(looked, "")
        for _ in range(PAGES):
            try:
                page = await self._page(address, cursor)
            except DeliveryDelayed:
                remember(self._cut_off, looked, cursor)
                raise
            messages = [message for message in page.get("messages") or () if (_place(message["ts"]) or 0) > after]
            found = posted_with(messages, me=me, nonce=nonce, text=text, known=known)
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if found is not None or not cursor:
                return found
        return None

    async def _page(self, address: Address, cursor: str) -> Mapping[str, Json]:
        more: dict[str, Any] = {
            "channel": address.channel,
            "limit": PAGE,
            "include_all_metadata": True,
            "oldest": None if _place(address.reply_to) is None else address.reply_to,
            "cursor": cursor or None,
        }
        if not address.thread:
            return await self._api.ask(address.workspace, lambda client: client.conversations_history(**more))
        try:
            return await self._api.ask(
                address.workspace, lambda client: client.conversations_replies(ts=address.thread, **more)
            )
        except ThreadGone:
            return {}  # and nothing of ours in it


def _place(ts: str) -> int | None:
    """Return the place of a message in the order; what a person pressed has a name that tells none."""
    try:
        return position_of(ts)
    except ValueError:
        return None
