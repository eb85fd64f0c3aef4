"""The requests to Discord's REST API that answers are made of: ids in, JSON out, nothing cached.

They go through discord.py's HTTP layer, which keeps to the rate limits and repeats what failed. Its objects above that are
of no use here: after a restart there is no channel to ask, and it would remember every button it ever sent.
"""

import io
import json
from datetime import timedelta
from typing import Any

import aiohttp
import discord
from discord.http import Route

from bot.chat.protocol import DeliveryDelayed, OutcomeUnknown
from bot.clock import Clock, time_limit

CALL_LIMIT = timedelta(seconds=40)
"""How long one call may take. discord.py waits up to 30 s inside it, also after Discord took the message, and repeats a
failed request for 25 s."""
SILENCE = timedelta(seconds=15)
"""How long a request may go without an answer; discord.py would wait for 5 minutes."""
CONNECT = timedelta(seconds=5)
LOGIN = timedelta(seconds=3)
"""How long a call waits for the login, which takes less than a second after a start, and then the wait before another."""
LOOK = timedelta(milliseconds=100)
PAGE = 100
"""The most messages that Discord returns at once."""
ARCHIVE_AFTER = 1440
"""Minutes without a message until a thread leaves the list of channels; one of the four values that Discord knows."""

Json = Any


class Rest:
    """Calls in the name of the bot.

    Raises (all methods): rest_errors.FAILURES, and DeliveryDelayed while there is no client that is logged in.
    """

    def __init__(self, client: discord.Client | None, clock: Clock) -> None:
        self.client = client
        self._clock = clock

    @property
    def me(self) -> discord.ClientUser:
        """The bot itself."""
        return self._logged_in()[1]

    async def create_message(self, channel: str, payload: Json, file: tuple[str, bytes] | None = None) -> str:
        """Post a message, with a file of this name and content, and return its id."""
        route = Route("POST", "/channels/{channel_id}/messages", channel_id=channel)
        if file is None:
            message = await self._call(route, json=payload)
        else:
            name, content = file
            payload = payload | {"attachments": [{"id": 0, "filename": name}]}
            attached = discord.File(io.BytesIO(content), name)
            form = [
                {"name": "payload_json", "value": json.dumps(payload)},
                {
                    "name": "files[0]",
                    "value": attached.fp,
                    "filename": attached.filename,
                    "content_type": "text/plain; charset=utf-8",
                },
            ]
            message = await self._call(route, files=[attached], form=form)
        try:
            return str(message["id"])
        except (TypeError, KeyError) as exc:
            raise OutcomeUnknown("Discord's answer to a post names no message") from exc

    async def edit_message(self, channel: str, message_id: str, payload: Json) -> None:
        await self._call(_message("PATCH", channel, message_id), json=payload)

    async def delete_message(self, channel: str, message_id: str) -> None:
        await self._call(_message("DELETE", channel, message_id))

    async def message(self, channel: str, message_id: str) -> Json:
        return await self._call(_message("GET", channel, message_id))

    async def messages(self, channel: str, *, after: str = "") -> list[Json]:
        """Return the first `PAGE` messages behind `after`, or the newest ones, oldest first."""
        params = {"limit": PAGE} | ({"after": after} if after else {})
        found = await self._call(Route("GET", "/channels/{channel_id}/messages", channel_id=channel), params=params)
        return sorted(found, key=lambda message: int(message["id"]))

    async def type(self, channel: str) -> None:
        """Show the bot as typing, for 10 seconds or until it posts."""
        await self._call(Route("POST", "/channels/{channel_id}/typing", channel_id=channel))

    async def start_thread(self, channel: str, message_id: str, name: str) -> None:
        """Begin a thread at a message; its id is the message's."""
        path = "/channels/{channel_id}/messages/{message_id}/threads"
        payload = {"name": name, "auto_archive_duration": ARCHIVE_AFTER}
        await self._call(Route("POST", path, channel_id=channel, message_id=message_id), json=payload)

    async def unarchive(self, thread: str) -> None:
        await self._call(Route("PATCH", "/channels/{channel_id}", channel_id=thread), json={"archived": False})

    async def _call(self, route: Route, **request: Any) -> Json:
        client = await self._client_logged_in()
        patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT.total_seconds(), sock_read=SILENCE.total_seconds())
        async with time_limit(self._clock, CALL_LIMIT):
            return await client.http.request(route, timeout=patience, **request)

    async def _client_logged_in(self) -> discord.Client:
        until = self._clock.monotonic() + LOGIN
        while True:
            try:
                return self._logged_in()[0]
            except DeliveryDelayed:
                if self._clock.monotonic() >= until:
                    raise
            await self._clock.sleep(LOOK)

    def _logged_in(self) -> tuple[discord.Client, discord.ClientUser]:
        if self.client is None or self.client.user is None or self.client.is_closed():
            raise DeliveryDelayed("the bot is not logged in to Discord", retry_after=LOGIN)
        return self.client, self.client.user


def _message(method: str, channel: str, message_id: str) -> Route:
    return Route(method, "/channels/{channel_id}/messages/{message_id}", channel_id=channel, message_id=message_id)
