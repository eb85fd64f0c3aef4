"""What every REST call goes through: the record, the script of faults, the token, the rate limits, the answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from tests.fakes.discord import refusals
from tests.fakes.discord.faults import Fault
from tests.fakes.discord.files import File
from tests.fakes.discord.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.discord.messages import Message
    from tests.fakes.discord.places import Channel
    from tests.fakes.discord.server import FakeDiscord

Json = Any
PREFIX = "/api/v10"


@dataclass(slots=True)
class Request:
    """One call as it came; `status` is 0 as long as it has no answer, and if the connection was cut."""

    method: str
    path: str
    body: Json
    at: datetime
    query: dict[str, str] = field(default_factory=dict)
    status: int = 0


@dataclass(slots=True)
class Call:
    """A request, read, on its way to the function that answers it."""

    discord: "FakeDiscord"
    web: web.Request
    body: Json
    files: list[File]

    def id(self, name: str) -> int:
        try:
            return int(self.web.match_info[name])
        except ValueError:
            raise refusals.invalid_form(name, "NUMBER_TYPE_COERCE", "Value is not snowflake.") from None

    def number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """Take a number from the query."""
        text = self.web.query.get(name, str(default))
        if not text.isdigit() or not lowest <= int(text) <= highest:
            raise refusals.invalid_form(name, "NUMBER_TYPE_RANGE", f"int value should be {lowest} to {highest}.")
        return int(text)

    def channel(self, *permissions: str) -> "Channel":
        """The channel of the path, if the bot may see it and do what the permissions name there."""
        channel = self.discord.channels.get(self.id("channel_id"))
        if channel is None:
            raise refusals.unknown("Channel")
        if not channel.may(self.discord.bot, "VIEW_CHANNEL"):
            raise refusals.missing_access()
        if not channel.may(self.discord.bot, *permissions):
            raise refusals.missing_permissions()
        return channel

    def message(self, channel: "Channel") -> "Message":
        message = channel.by_id.get(self.id("message_id"))
        if message is None:
            raise refusals.unknown("Message")
        return message

    def show(self, message: "Message", *, nonce: bool = False) -> Json:
        """Write a message as REST shows it to the bot."""
        return message.json(content=self.discord.gateway.reads_content, nonce=nonce)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status of its own; a plain value means 200, None means 204."""

    status: int
    body: Json


Handler = Callable[[Call], Awaitable[Json] | Json]
Routes = dict[tuple[str, str], Handler]


class Rest:
    """Serves routes in the way that Discord serves them."""

    def __init__(self, discord: "FakeDiscord") -> None:
        self._discord = discord

    def serve(self, template: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Make the function that answers requests on one route."""

        async def answer(request: web.Request) -> web.StreamResponse:
            discord = self._discord
            body, files = await _read(request)
            path = request.path.removeprefix(PREFIX)
            record = Request(request.method, path, body, datetime.now(UTC), dict(request.query))
            discord.requests.append(record)
            fault = discord.faults.take(request.method, path)
            if fault is not None and not fault.after:
                await fault.wait()
                if fault.status != 0:
                    return _fail(request, record, fault)
            response = await self._do(template, handler, Call(discord, request, body, files))
            if fault is not None and fault.after:
                await fault.wait()
                if fault.status != 0:
                    return _fail(request, record, fault)
            record.status = response.status
            if response.status == 429:
                discord.refused.append(record)
            return response

        return answer

    async def _do(self, template: str, handler: Handler, call: Call) -> web.Response:
        request = call.web
        by_token = template.startswith(("/interactions", "/webhooks"))
        if not by_token and request.headers.get("Authorization") != f"Bot {self._discord.token}":
            return _respond(401, refusals.unauthorized().json())
        major = request.match_info.get("channel_id") or request.match_info.get("token") or ""
        verdict = self._discord.limits.admit(request.method, template, major)
        if not verdict.allowed:
            return _respond(429, verdict.body, verdict.headers)
        try:
            result = handler(call)
            if asyncio.iscoroutine(result):
                result = await result
        except Refusal as refusal:
            return _respond(refusal.status, refusal.json(), verdict.headers)
        if result is None:
            return web.Response(status=204, headers=verdict.headers)
        if isinstance(result, Answer):
            return _respond(result.status, result.body, verdict.headers)
        return _respond(200, result, verdict.headers)


def _fail(request: web.Request, record: Request, fault: Fault) -> web.Response:
    if fault.status is None:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # nobody gets it
    record.status = fault.status
    return _respond(fault.status, *fault.answer())


def _respond(status: int, body: Json, headers: dict[str, str] | None = None) -> web.Response:
    # bytes, so that no charset follows the content type: discord.py knows only the bare one
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers)


async def _read(request: web.Request) -> tuple[Json, list[File]]:
    if not request.content_type.startswith("multipart/"):
        raw = await request.read()
        return (json.loads(raw) if raw else {}), []
    body: Json = {}
    files: dict[str, File] = {}
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read(decode=True))
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            files[part.name or ""] = File(part.filename or "file", data, part.headers.get("Content-Type"))
    return body, [files[name] for name in sorted(files, key=lambda name: (len(name), name))]
