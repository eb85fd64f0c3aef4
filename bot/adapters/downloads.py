"""Reading a file that people attached, from its platform's own hosts only, and never more than was asked for.

A link comes from outside, so it is not followed anywhere else, and what stands in the answer's headers is not believed.
"""

from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from bot.chat.protocol import FileUnreadable

CHUNK = 64 * 1024

Check = Callable[[aiohttp.ClientResponse], None]
"""Looks at an answer's status and headers, and raises FileUnreadable for one that is not the file."""


async def download(
    link: str,
    *,
    platform: str,
    hosts: frozenset[URL],
    limit: int,
    check: Check,
    headers: Mapping[str, str] | None = None,
    proxy: str | None = None,
) -> bytes:
    """Return at most the first `limit` bytes of a file; the caller limits the time.

    `hosts` are the origins of `platform` (as people know it) that the link may lead to; only they see the `headers`.

    Raises:
        FileUnreadable: also what `check` raised.
    """
    url = _checked(link, hosts, platform)
    try:
        # Compressed answers are not asked for and not unpacked: 64 KB of them can hold a hundred megabytes.
        async with (
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", **(headers or {})},
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as session,
            session.get(url, allow_redirects=False, proxy=proxy) as response,
        ):
            check(response)
            if response.status != 200:
                raise FileUnreadable(f"{platform} does not hand it out (HTTP {response.status})")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise FileUnreadable("it came compressed")
            return await _beginning(response, limit)
    except (aiohttp.ClientError, OSError) as exc:
        raise FileUnreadable("the connection broke off while it was loading") from exc


async def _beginning(response: aiohttp.ClientResponse, limit: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        content += chunk
        if len(content) >= limit:
            break
    return bytes(content[:limit])


def _checked(link: str, hosts: frozenset[URL], platform: str) -> URL:
    try:
        url = URL(link)
        known = url.origin() in hosts and url.user is None and url.password is None
    except ValueError as exc:
        raise FileUnreadable("its link is not valid") from exc
    if not known:
        raise FileUnreadable(f"its link does not lead to {platform}")
    return url
