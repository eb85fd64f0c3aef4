"""Reading the files that people attach: with the workspace's token, which only Slack's file host may see.

Where the token does not do, Slack says so with a page to sign in, not with an error.
"""

import re
from datetime import timedelta

import aiohttp
from yarl import URL

from bot.adapters.downloads import download
from bot.adapters.slack.clients import SlackClients
from bot.chat.protocol import Address, DeliveryError, FileOffer, FileUnreadable
from bot.clock import Clock, time_limit

HOST = URL("https://files.slack.com")
PATIENCE = timedelta(seconds=15)
"""How long reading one file may take in all."""
NOT_HANDED_OVER = "Slack did not hand it over; the app may lack files:read"

_HTML = "text/html"
_LOGIN_PAGE = re.compile(
    rb"\s*<!doctype html>.{0,4000}?(?:<title>[^<]*\bslack\b|data-props|/signin)", re.IGNORECASE | re.DOTALL
)


def file_hosts(api_base_url: str) -> frozenset[URL]:
    """Return the origins that may see the token: Slack's file host, and that of the Web API."""
    return frozenset({HOST, URL(api_base_url).origin()})


class Files:
    """What people attach to messages."""

    def __init__(self, clients: SlackClients, clock: Clock, *, api_base_url: str) -> None:
        self._clients = clients
        self._clock = clock
        self._hosts = file_hosts(api_base_url)

    async def read(self, address: Address, file: FileOffer, *, limit: int) -> bytes:
        """Return at most the first `limit` bytes of a file.

        Raises:
            FileUnreadable.
        """
        try:
            client = await self._clients.of(address.workspace)
        except DeliveryError as exc:
            raise FileUnreadable("the app can't reach this workspace now") from exc
        html = file.media_type.startswith(_HTML)

        def check(response: aiohttp.ClientResponse) -> None:
            if response.status in (301, 302, 303, 307, 308, 401, 403):
                raise FileUnreadable(NOT_HANDED_OVER)
            if response.status in (404, 410):
                raise FileUnreadable("it is no longer there")
            if response.content_type == _HTML and response.status == 200 and not html:
                raise FileUnreadable(NOT_HANDED_OVER)

        try:
            async with time_limit(self._clock, PATIENCE):
                content = await download(
                    file.url,
                    platform="Slack",
                    hosts=self._hosts,
                    limit=limit,
                    check=check,
                    headers={"Authorization": f"Bearer {client.token}"},
                    proxy=client.proxy,
                )
        except TimeoutError as exc:
            raise FileUnreadable("it took too long to load") from exc
        if html and _LOGIN_PAGE.match(content):
            raise FileUnreadable(NOT_HANDED_OVER)
        return content
