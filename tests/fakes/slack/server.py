"""The fake Slack itself: one loopback address with Web API, Socket Mode and file host, and the workspaces behind them."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from bot.clock import Clock, SystemClock
from tests.fakes.slack import (
    api_agents,
    api_apps,
    api_chat,
    api_conversations,
    api_streams,
    api_views,
    files,
    pages,
    saying,
)
from tests.fakes.slack.api import Api, Request
from tests.fakes.slack.api_agents import Prompts, Session
from tests.fakes.slack.dispatch import Attempt, Delivery, Dispatch, Transport
from tests.fakes.slack.faults import Fault, Faults
from tests.fakes.slack.files import FileHost
from tests.fakes.slack.http_events import HttpEvents
from tests.fakes.slack.interacting import Ephemeral, Interaction, View
from tests.fakes.slack.limits import Limits
from tests.fakes.slack.messages import Attachment, Message, Ping, Preview
from tests.fakes.slack.people import User
from tests.fakes.slack.places import Channel, Status
from tests.fakes.slack.refusals import Refusal
from tests.fakes.slack.socket_mode import Socket, SocketMode
from tests.fakes.slack.stamps import Stamps
from tests.fakes.slack.teams import Team

Json = Any

MINUTE = timedelta(minutes=1)
METHODS = (
    api_agents.METHODS
    | api_apps.METHODS
    | api_chat.METHODS
    | api_conversations.METHODS
    | api_streams.METHODS
    | api_views.METHODS
    | files.METHODS
)


class FakeSlack:
    """See the package for how to use it."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        events_url: str | None = None,
        ack_limit: timedelta = timedelta(seconds=3),
        retry_after: Sequence[timedelta] = (timedelta(), MINUTE, 5 * MINUTE),
        window: timedelta = MINUTE,
        limits: Mapping[str, int] | None = None,
        distributed: bool = False,
        stream_life: timedelta = 5 * MINUTE,
        stream_bytes: int = 10_600,
        edit_window: timedelta | None = None,
        trigger_life: timedelta = timedelta(seconds=3),
        bot_name: str = "parley",
        port: int = 0,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.ack_limit = ack_limit
        self.stream_life = stream_life
        self.stream_bytes = stream_bytes
        self.edit_window = edit_window
        self.trigger_life = trigger_life
        self.bot_name = bot_name
        self._port = port
        self._runner: web.AppRunner | None = None
        self._numbers = itertools.count(1)

        self.app_id = "A0PARLEY"
        self.app_token = "xapp-1-A0PARLEY-1-fake"
        self.signing_secret = "8f742231b10e8888abcd99yyyzzz85a5"
        self.client_id = "1111.2222"
        self.client_secret = "client-secret"
        self.codes: dict[str, tuple[Team, User]] = {}
        self.used_codes: set[str] = set()
        self.revoked: set[str] = set()
        self.installing: User | None = None
        """Who comes to the authorize page, by default somebody of the first workspace."""
        self.redirect_url = ""
        """Where the app's configuration sends them back to, when the app names no other address."""
        self.unsubscribed: set[str] = set()
        """The events that the app has not subscribed to, by default none ("message.channels", "app_mention", ...)."""

        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.teams: list[Team] = []

        self.pings: list[Ping] = []
        """Everyone whom a message of the bot notified; edits notify nobody."""
        self.unfurled: list[Preview] = []
        self.statuses: list[Status] = []
        self.titles: dict[tuple[str, str], str] = {}
        self.prompts: list[Prompts] = []
        self.sessions: dict[tuple[str, str], Session] = {}
        self.ephemerals: list[Ephemeral] = []
        self.homes: dict[str, View] = {}
        self.published: list[Json] = []
        self.modals: list[View] = []
        self.interactions: list[Interaction] = []
        self.downloads: list[tuple[Attachment, str]] = []
        """Each attempt to fetch a file, with the token that came along."""
        self.requests: list[Request] = []
        self.refused: list[Request] = []
        """The calls that met a 429."""

        self.stamps = Stamps()
        self.faults = Faults()
        self.limits = Limits(window=window, own=dict(limits or {}), distributed=distributed)
        self.dispatch = Dispatch(self, tuple(retry_after))
        self.socket_mode = SocketMode(self)
        self.http = HttpEvents(self)
        self.http.url = events_url
        self.files = FileHost(self)
        self.team("Acme")

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/api/{method}", Api(self, METHODS).serve)
        app.router.add_get("/link/", self.socket_mode.serve)
        app.router.add_post("/upload/v1/{file_id}", self.files.upload)
        app.router.add_get("/files-pri/download/{file_id}/{name}", self.files.download)
        app.router.add_get("/files-pri/{file_id}/{name}", self.files.download)
        app.router.add_post("/response/{number}", partial(pages.respond, self))
        app.router.add_get("/oauth/v2/authorize", partial(pages.authorize, self))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.dispatch.start()
        self.http.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.faults.release_all()
        self.files.close()
        await self.dispatch.stop()
        await self.socket_mode.close()
        await self.http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # Where it is

    @property
    def port(self) -> int:
        return self._port

    @property
    def files_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_url(self) -> str:
        return f"{self.files_url}/api/"

    @property
    def authorize_url(self) -> str:
        """The page that asks people whether they want the app; here everybody does."""
        return f"{self.files_url}/oauth/v2/authorize"

    @property
    def events_url(self) -> str | None:
        """Where the app takes its events; without one they go through Socket Mode."""
        return self.http.url

    @events_url.setter
    def events_url(self, url: str | None) -> None:
        self.http.url = url

    @property
    def transport(self) -> Transport:
        return self.http if self.http.url else self.socket_mode

    # The world

    @property
    def workspace(self) -> Team:
        """The first workspace, which is there from the beginning."""
        return self.teams[0]

    @property
    def bot_token(self) -> str:
        return self.workspace.bot_token

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):09}"

    def new_token(self, team: Team | None = None) -> str:
        return f"xoxb-{team.id if team else 'fake'}-{next(self._numbers):09}"

    def team(self, name: str, *, enterprise: str | None = None, org_wide: bool = False) -> Team:
        """Install the app in a new workspace, or, `org_wide`, in one of an enterprise that has it for all."""
        shared = next(
            (team.bot_token for team in self.teams if org_wide and team.enterprise == enterprise and team.org_wide), None
        )
        team = Team(self, self.new_id("T"), name, shared or self.new_token(), enterprise, org_wide)
        self.teams.append(team)
        return team

    def team_of(self, token: str, body: Json) -> Team:
        """The workspace that a token is for; one of an enterprise needs the call to say which."""
        found = [team for team in self.teams if team.bot_token == token]
        if not found:
            raise Refusal("invalid_auth")
        if all(team.uninstalled for team in found):
            raise Refusal("account_inactive")
        places = (body.get("channel"), body.get("channel_id"))
        here = [team for team in found if team.id == body.get("team_id") or any(place in team.channels for place in places)]
        return (here or found)[0]

    async def unfurl(self, message: Message, url: str = "https://example.com") -> None:
        """Add a link's preview: a `message_changed` that is no edit."""
        saying.unfurl(message, url)

    def post_as_bot(self, channel: Channel, text: str, blocks: list[Json] | None, thread_ts: str | None) -> Message:
        """Show something to everyone that did not come by `chat.postMessage`."""
        bot = channel.bots[0] if channel.bots else channel.team.bot
        message = Message(self.stamps.new(self.clock.now()), channel, bot, text, thread_ts, blocks)
        channel.add(message)
        saying.notify(message, message.shown)
        saying.tell_of_new(message)
        return message

    def open_view(self, user: User, body: Json) -> View:
        view = View(self.new_id("V"), user, body)
        self.modals.append(view)
        return view

    def grant(self, user: User) -> str:
        """Let somebody install the app; returns the code that their browser brings back."""
        code = self.new_id("code.")
        self.codes[code] = (user.team, user)
        return code

    async def until(self, holds: Callable[[], Any], *, within: timedelta = timedelta(seconds=10)) -> None:
        """Wait until something holds, and fail if it takes too long."""
        deadline = asyncio.get_running_loop().time() + within.total_seconds()
        while not holds():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"this did not come to hold within {within}")
            await asyncio.sleep(0.005)

    # What goes wrong

    def fail(
        self,
        method: str,
        *,
        error: str | None = None,
        status: int | None = None,
        cut: bool = False,
        after_effect: bool = False,
        times: int = 1,
        retry_after: int = 1,
        when: Callable[[Request], Any] | None = None,
    ) -> Fault:
        """Let calls fail: with an `error` of Slack, an HTTP `status` (429 with `retry_after`) or a `cut` connection. With
        `after_effect` the call does what it does and only its answer is lost; `when` chooses among the calls."""
        return self.faults.add(Fault(method, error, status, cut, after_effect, times, retry_after, when=when))

    def hang(self, method: str, *, times: int = 1, after_effect: bool = False) -> Fault:
        """Let calls wait until `release()`; after that they go on."""
        return self.faults.add(Fault(method, after_effect=after_effect, times=times, gate=asyncio.Event()))

    async def drop_sockets(self) -> None:
        """Cut every socket without a word."""
        await self.socket_mode.drop()

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Send `disconnect`; after "warning" the sockets still get events, after the others no more."""
        await self.socket_mode.disconnect(reason)

    async def silence_sockets(self) -> None:
        """Let the sockets that are open now take everything and give nothing, not even a pong."""
        self.socket_mode.silence()

    def refuse_sockets(self, times: int = 1) -> None:
        """Refuse the next calls of `apps.connections.open`."""
        self.socket_mode.refusals_left = times

    async def hold_events(self) -> None:
        """Keep events back until `release_events`."""
        self.dispatch.hold()

    async def release_events(self, order: Callable[[list[Delivery]], list[Delivery]] = list) -> None:
        """Send what was kept back, in the order that `order` makes of it."""
        self.dispatch.release(order)

    @property
    def copies(self) -> int:
        """How often every event is delivered, with the same event_id."""
        return self.dispatch.copies

    @copies.setter
    def copies(self, number: int) -> None:
        self.dispatch.copies = number

    async def deliver_again(self, message: Message, times: int = 1) -> None:
        """Deliver what told of a message once more, now, word by word and under the same event ids."""
        for _ in range(times):
            self.dispatch.again(message.channel, message.ts)

    @property
    def send_twice(self) -> bool:
        return self.copies > 1

    @send_twice.setter
    def send_twice(self, twice: bool) -> None:
        self.copies = 2 if twice else 1

    # HTTP mode

    async def replay(self, attempt: Attempt) -> int:
        """Send a signed request once more, byte for byte; returns the status."""
        status, _, _ = await self.http.send(attempt.body, attempt.headers)
        return status

    async def send_signed(self, body: bytes, **headers: str) -> tuple[int, str]:
        """Send something with a good signature, save for the `headers` that are given (`X_Slack_Signature="v0=bad"`)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        signed = {"Content-Type": "application/json"} | self.http.sign(body, named.get("X-Slack-Request-Timestamp")) | named
        status, text, _ = await self.http.send(body, signed)
        return status, text

    # What was seen

    @property
    def sockets(self) -> list[Socket]:
        return self.socket_mode.sockets

    @property
    def deliveries(self) -> list[Delivery]:
        return self.dispatch.deliveries

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for delivery in list(self.deliveries) for attempt in delivery.attempts]

    @property
    def acks(self) -> list[Attempt]:
        """The attempts that were acknowledged in time; `acked_after` tells how long it took."""
        return [attempt for attempt in self.attempts if attempt.acked]

    @property
    def quiet(self) -> bool:
        """Whether everything has been acknowledged or given up."""
        return not self.dispatch.busy

    def asked(self, method: str) -> list[Request]:
        """List the calls of a method; `*` stands for anything."""
        kind = Fault(method)
        return [request for request in list(self.requests) if kind.concerns(request)]
