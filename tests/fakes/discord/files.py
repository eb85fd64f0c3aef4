"""Attachments, and the file host that serves them well or badly."""

import mimetypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.file_serving import FileServing

if TYPE_CHECKING:
    from tests.fakes.discord.server import FakeDiscord

Json = Any

LIMIT = 10 * 1024 * 1024
"""How large an upload may be."""


@dataclass(frozen=True, slots=True)
class File:
    """What someone uploads. `serve` says how the host behaves when the file is fetched:

    "ok", "slow" (a byte every 50 ms), "endless", "cut" (half of it, then the connection breaks), "bomb" (a small gzip body
    that inflates to 64 MB), "redirect" (to `elsewhere`), "expired" (404) or "hang" (no answer). `size` is what Discord says
    the file's size is, if that is not the truth.
    """

    name: str
    data: bytes
    content_type: str | None = None
    serve: str = "ok"
    elsewhere: str = "http://127.0.0.1:9/elsewhere"
    size: int | None = None


@dataclass(eq=False, slots=True)
class Attachment:
    """A file as it hangs on a message."""

    id: int
    channel_id: int
    file: File
    discord: "FakeDiscord" = field(repr=False)
    signature: int = 0
    fetched: int = 0
    """How often somebody asked for the bytes."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def data(self) -> bytes:
        return self.file.data

    @property
    def url(self) -> str:
        path = f"/attachments/{self.channel_id}/{self.id}/{self.name}"
        return f"{self.discord.cdn_url}{path}?ex=6aaaaaaa&is=6aaaaaaa&hm={self.signature:08x}"

    def expire(self) -> None:
        """Let the URLs given out so far answer 404; the message fetched anew has one that works."""
        self.signature += 1

    def json(self) -> Json:
        guessed = mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        return {
            "id": str(self.id),
            "filename": self.name,
            "size": len(self.data) if self.file.size is None else self.file.size,
            "content_type": self.file.content_type or guessed,
            "url": self.url,
            "proxy_url": self.url,
        }


class FileHost(FileServing):
    """Answers `GET /attachments/...` on the same address as the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._attachments: dict[int, Attachment] = {}

    def add(self, attachment: Attachment) -> Attachment:
        self._attachments[attachment.id] = attachment
        return attachment

    async def serve(self, request: web.Request) -> web.StreamResponse:
        attachment = self._attachments.get(int(request.match_info["attachment_id"]))
        if attachment is None:
            return web.Response(status=404, text="This content is no longer available.")
        attachment.fetched += 1
        current = request.query.get("hm") == f"{attachment.signature:08x}"
        if not current or attachment.file.serve == "expired":
            return web.Response(status=404, text="This content is no longer available.")
        return await self.serve_as_asked(request, attachment)

    async def _serve_ok(self, _: web.Request, attachment: Attachment) -> web.StreamResponse:
        return web.Response(body=attachment.data, content_type=attachment.json()["content_type"])
