"""Reading the files that people attach: from Discord's own hosts, which learn nothing that identifies us."""

from datetime import timedelta

import aiohttp
from yarl import URL

from bot.adapters import downloads
from bot.adapters.discord.endpoints import API_BASE_URL
from bot.chat.protocol import FileUnreadable

CDN = frozenset({URL("https://cdn.discordapp.com"), URL("https://media.discordapp.net")})
PATIENCE = timedelta(seconds=15)
"""How long reading one file may take in all."""
NOT_THERE = (403, 404, 410)
"""How Discord answers for a link whose signature is over (after 24 hours), and for a file that was deleted."""


class LinkExpired(FileUnreadable):
    """The link leads nowhere any more; the message may have a new one."""


def file_hosts(api_base_url: str) -> frozenset[URL]:
    """Return the origins that files may come from: Discord's, and the stand-in for Discord when there is one."""
    return CDN if api_base_url == API_BASE_URL else CDN | {URL(api_base_url).origin()}


async def download(link: str, *, hosts: frozenset[URL], limit: int) -> bytes:
    """Return at most the first `limit` bytes of a file; the caller limits the time.

    Raises:
        FileUnreadable: LinkExpired when a newer link may do.
    """
    return await downloads.download(link, platform="Discord", hosts=hosts, limit=limit, check=_check)


def _check(response: aiohttp.ClientResponse) -> None:
    if response.status in NOT_THERE:
        raise LinkExpired("it is no longer there")
