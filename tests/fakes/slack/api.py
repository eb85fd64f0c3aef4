"""What every Web API call goes through: the record, the faults, the token, the scope, the rate limit, the answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.slack import refusals
from tests.fakes.slack.faults import Fault
from tests.fakes.slack.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.slack.messages import Message
    from tests.fakes.slack.places import Channel
    from tests.fakes.slack.server import FakeSlack
    from tests.fakes.slack.teams import Team

Json = Any

NO_TOKEN = "no token"
APP_TOKEN = "app token"


@dataclass(slots=True)
class Request:
    """One call as it came; `status` is 0 as long as it has no answer, and for good if the connection was cut."""

    method: str
    token: str
    body: dict[str, Json]
    at: datetime
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    status: int = 0
    error: str | None = None
    """The error in the answer; None is success, or no answer."""

    @property
    def ok(self) -> bool:
        return self.status == 200 and self.error is None


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the Web API: what it does and the scope that it needs (any one of several, by the kind of channel)."""

    act: "Callable[[Call], Json]"
    scope: str = ""


Methods = dict[str, Method]


@dataclass(slots=True)
class Call:
    """A call, read and let in, on its way to the function that answers it."""

    slack: "FakeSlack"
    request: Request
    team: "Team"

    def text(self, name: str, default: str = "") -> str:
        value = self.request.body.get(name)
        return default if value is None else str(value)

    def required(self, name: str) -> str:
        if not (value := self.text(name)):
            raise refusals.invalid_arguments(f"missing required field: {name}")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.request.body.get(name)
        return default if value is None else value in (True, 1, "1", "true", "True")

    def number(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not value.isdigit():
            raise refusals.invalid_arguments(f"must be a number: {name}")
        return int(value)

    def json(self, name: str) -> Json:
        """Take something nested, which comes as JSON or as the text of JSON."""
        value = self.request.body.get(name)
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise refusals.invalid_arguments(f"not JSON: {name}") from None

    def channel(self, name: str = "channel", *, member: bool = True, open_dm: bool = False) -> "Channel":
        """The channel that is meant, if the bot can see it and, where that is needed, is in it and may write."""
        number = self.required(name)
        if open_dm and number in self.slack.users and number[0] == "U":
            return self.team.dm(self.slack.users[number])
        channel = self.team.channels.get(number)
        hidden = channel is not None and channel.kind != "public" and self.team.bot not in channel.members
        if channel is None or channel.deleted or hidden:
            raise Refusal("channel_not_found")
        if member and self.team.bot not in channel.members:
            raise Refusal("not_in_channel")
        return channel

    def writable(self, name: str = "channel") -> "Channel":
        channel = self.channel(name, open_dm=True)
        if channel.archived:
            raise Refusal("is_archived")
        return channel

    def message(self, channel: "Channel", name: str = "ts") -> "Message":
        message = channel.by_ts.get(self.required(name))
        if message is None or message.deleted:
            raise Refusal("message_not_found")
        return message


def _refuse_unknown(call: Call) -> Json:
    raise Refusal("unknown_method", {"req_method": call.request.method})


_UNKNOWN = Method(_refuse_unknown)


class Api:
    """Serves `/api/{method}`."""

    def __init__(self, slack: "FakeSlack", methods: Methods) -> None:
        self._slack = slack
        self._methods = methods

    async def serve(self, request: web.Request) -> web.StreamResponse:
        slack = self._slack
        body = await _read(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or str(body.get("token") or "")
        record = Request(request.match_info["method"], token, body, slack.clock.now(), dict(request.headers))
        slack.requests.append(record)
        fault = slack.faults.take(record)
        if fault is not None and not fault.after_effect:
            await _hold(fault)
            if fault.answers:
                return self._fail(request, record, fault)
        response = self._answer(record)
        if fault is not None and fault.after_effect:
            await _hold(fault)
            if fault.answers:
                return self._fail(request, record, fault)
        return response

    def _answer(self, record: Request) -> web.Response:
        try:
            method = self._methods.get(record.method, _UNKNOWN)
            team = self._let_in(record, method)
            channel = str(record.body.get("channel") or "")
            wait = self._slack.limits.admit(record.method, team.id, channel, self._slack.clock.monotonic())
            if wait:
                return self._too_early(record, wait)
            value = {"ok": True} | (method.act(Call(self._slack, record, team)) or {})
        except Refusal as refusal:
            value = refusal.json()
        return self._respond(record, value)

    def _let_in(self, record: Request, method: Method) -> "Team":
        slack = self._slack
        if method.scope == NO_TOKEN:
            return slack.teams[0]
        if not record.token:
            raise Refusal("not_authed")
        if record.token in slack.revoked:
            raise Refusal("token_revoked")
        if method.scope == APP_TOKEN:
            if record.token == slack.app_token:
                return slack.teams[0]
            raise Refusal("not_allowed_token_type" if record.token.startswith("xoxb-") else "invalid_auth")
        if record.token == slack.app_token:
            raise Refusal("not_allowed_token_type")
        team = slack.team_of(record.token, record.body)
        wanted = method.scope.split("|")
        if method.scope and not team.scopes & set(wanted):
            raise refusals.missing_scope(wanted[0], team.scopes)
        return team

    def _fail(self, request: web.Request, record: Request, fault: Fault) -> web.Response:
        if fault.cut:
            record.status, record.error = 0, None
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)  # nobody gets it
        if fault.error is not None:
            return self._respond(record, {"ok": False, "error": fault.error})
        if fault.status == 429:
            return self._too_early(record, fault.retry_after)
        record.status = fault.status or 500
        return web.Response(status=record.status, text="upstream trouble", content_type="text/html")

    def _too_early(self, record: Request, wait: int) -> web.Response:
        self._slack.refused.append(record)
        return self._respond(record, {"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(wait)})

    def _respond(
        self, record: Request, value: Json, status: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response:
        record.status, record.error = status, value.get("error")
        team = next((team for team in self._slack.teams if team.bot_token == record.token), None)
        scopes = {"X-OAuth-Scopes": ",".join(sorted(team.scopes))} if team else {}
        date = {"Date": format_datetime(self._slack.clock.now(), usegmt=True)}
        return web.json_response(value, status=status, headers=date | scopes | (headers or {}))


async def _hold(fault: Fault) -> None:
    if fault.gate is not None:
        await fault.gate.wait()


async def _read(request: web.Request) -> dict[str, Json]:
    body: dict[str, Json] = dict(request.query)
    if request.content_type == "application/json":
        raw = await request.text()
        return body | (json.loads(raw) if raw else {})
    return body | {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
