"""Posting a file, in Slack's three steps: ask where to, send it there, share it.

The last step alone shows something to people, and its answer names no message: Slack shares a file a moment later.
"""

from datetime import timedelta
from typing import Any

import aiohttp

from bot.adapters.slack.neutral import neutral
from bot.adapters.slack.own_messages import file_name
from bot.adapters.slack.web_api import WebApi
from bot.chat.protocol import Address, DeliveryDelayed, DeliveryError, OutcomeUnknown
from bot.clock import Clock, time_limit

UPLOAD_LIMIT = timedelta(seconds=60)
LOOKS = 3
"""How often Slack is asked in which message a file came out."""
SETTLING = timedelta(seconds=1)
FILE_LIMIT = 50 * 1024 * 1024
"""Far below the gigabyte that Slack takes, far above what a model writes."""
SEND_AGAIN = timedelta(seconds=2)

Json = Any


class Uploads:
    """Files into channels and threads."""

    def __init__(self, api: WebApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    async def post(self, address: Address, name: str, text: str, *, nonce: str) -> str:
        """Post `text` as a file that people see as `name`, and return the ts of its message.

        Raises:
            OutcomeUnknown: the file may be there, or is there in a message that Slack does not name yet.
            Any other DeliveryError.
        """
        file_id = await self.share(address, file_name(name, nonce), name, text.encode())
        for look in range(LOOKS):
            if look:
                await self._clock.sleep(SETTLING)
            if (ts := await self._message_of(address, file_id)) is not None:
                return ts
        raise OutcomeUnknown("Slack does not tell in which message the file is")

    async def share(self, address: Address, name: str, title: str, data: bytes) -> str:
        """Post a file of that name, which people see as `title`; return Slack's id of it.

        Raises:
            OutcomeUnknown: it may be there.
            Any other DeliveryError.
        """
        if len(data) > FILE_LIMIT:
            raise DeliveryError(f"the file has {len(data)} bytes and may have {FILE_LIMIT}")
        file_id = await self._upload(address, name, data)
        await self._api.ask(
            address.workspace,
            lambda client: client.files_completeUploadExternal(
                files=[{"id": file_id, "title": neutral(title)}],
                channel_id=address.channel,
                thread_ts=address.thread or None,
            ),
            repeatable=False,
        )
        return file_id

    async def _upload(self, address: Address, name: str, data: bytes) -> str:
        """Send the bytes; nobody sees them yet, so this may be repeated."""
        place = await self._api.ask(
            address.workspace,
            lambda client: client.files_getUploadURLExternal(filename=neutral(name), length=len(data)),
        )
        client = await self._api.clients.of(address.workspace)
        try:
            async with (
                time_limit(self._clock, UPLOAD_LIMIT),
                self._api.clients.session.post(
                    str(place["upload_url"]),
                    data=data,
                    proxy=client.proxy,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=UPLOAD_LIMIT.total_seconds()),
                ) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as exc:
            raise DeliveryDelayed(f"the file did not arrive ({type(exc).__name__})", retry_after=SEND_AGAIN) from exc
        if status != 200:
            raise DeliveryDelayed(f"Slack did not take the file (HTTP {status})", retry_after=SEND_AGAIN)
        return str(place["file_id"])

    async def _message_of(self, address: Address, file_id: str) -> str | None:
        try:
            answer = await self._api.ask(address.workspace, lambda client: client.files_info(file=file_id))
        except DeliveryError:  # it is there all the same
            return None
        shares = answer.get("file", {}).get("shares") or {}
        for kind in ("public", "private"):
            for share in (shares.get(kind) or {}).get(address.channel, ()):
                return str(share["ts"])
        return None
