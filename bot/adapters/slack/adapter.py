"""Slack, put together: the transport, what it hears, what was missed, what people press and type, and the surface."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from bot.adapters.protocol import Inside, Mount, PlatformRefused
from bot.adapters.slack.api_errors import SlackRefused, TokenDead
from bot.adapters.slack.app import build_app, hear
from bot.adapters.slack.clients import SLACK, SlackClients
from bot.adapters.slack.door import Door
from bot.adapters.slack.events import Gate
from bot.adapters.slack.file_facts import FileFacts
from bot.adapters.slack.gaps import Gaps
from bot.adapters.slack.http import PATH, requests_at
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.installations import ParleyInstallationStore
from bot.adapters.slack.interactions import Afterwards
from bot.adapters.slack.native_stop import NativeStop
from bot.adapters.slack.oauth import InstallPages
from bot.adapters.slack.people import People
from bot.adapters.slack.put_off import PutOff
from bot.adapters.slack.registration import register
from bot.adapters.slack.replicas import Replicas
from bot.adapters.slack.socket import FIRST_PAUSE, LONGEST_PAUSE, SocketMode
from bot.adapters.slack.stamps import position_at, ts_of
from bot.adapters.slack.standing import Standings
from bot.adapters.slack.surface import SlackSurface
from bot.adapters.slack.uninstalls import Uninstalls
from bot.adapters.slack.user_groups import UserGroups, named_by
from bot.adapters.slack.watermarks import Watermarks
from bot.adapters.slack.web_api import WebApi
from bot.chat.away import Away
from bot.chat.policy import Rules
from bot.chat.protocol import Address, DeliveryDelayed, DeliveryError, Unreachable
from bot.chat.unanswered import Unanswered
from bot.clock import Clock
from store import StoreUnavailable

log = structlog.get_logger(__name__)

NOT_YET = timedelta(seconds=1)
_NOT_ACCEPTED = (
    "Slack does not accept SLACK_BOT_TOKEN ({}): copy the 'Bot User OAuth Token' (xoxb-...) anew from OAuth & Permissions "
    "on https://api.slack.com/apps, where the app has to be installed in your workspace"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What Slack gave: a bot's token, an OAuth client or both; an app's token for Socket Mode, else a signing secret."""

    bot_token: str | None = None
    app_token: str | None = None
    signing_secret: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Intake:
    """What takes in, and stops before the rest does."""

    door: Door
    socket: SocketMode | None
    gaps: Gaps
    away: Away
    people: People
    groups: UserGroups
    afterwards: Afterwards
    marks: Watermarks

    async def stop(self) -> None:
        await self.door.close()
        if self.socket is not None:
            await self.socket.close()
        await self.gaps.close()
        await self.away.close()
        await self.afterwards.close()
        await self.people.close()
        await self.groups.close()
        await self.marks.write()


class SlackAdapter:
    """Implements `Adapter` on slack-bolt."""

    platform = PLATFORM

    def __init__(
        self,
        credentials: Credentials,
        *,
        clock: Clock,
        rng: random.Random,
        api_base_url: str = SLACK,
        replicated: bool = False,
    ) -> None:
        """`replicated`: other replicas may work on the same store."""
        self._replicated = replicated
        self._replicas = Replicas(clock)
        self._credentials = credentials
        self._clock = clock
        self._rng = rng
        self._installations: ParleyInstallationStore | None = None
        self._pages: InstallPages | None = None
        if credentials.client_id is not None and credentials.client_secret is not None:
            self._pages = InstallPages(
                client_id=credentials.client_id,
                client_secret=credentials.client_secret,
                base_url=api_base_url,
                clock=clock,
            )
        self._clients = SlackClients(
            clock,
            base_url=api_base_url,
            token=credentials.bot_token,
            find_token=self._token_of if self._pages is not None else None,
        )
        self._door = Door()
        self._intake: _Intake | None = None
        self._native_stop: NativeStop | None = None
        self._afterwards = Afterwards(clock)
        self.surface = SlackSurface(
            self._clients,
            clock,
            api_base_url=api_base_url,
            on_stopped=self._person_stopped,
            replicas=lambda: self._replicas.count,
        )

    @property
    def mounts(self) -> Sequence[Mount]:
        found: list[Mount] = []
        if self._credentials.app_token is None and self._credentials.signing_secret is not None:
            found.append(requests_at(PATH, self._door, self._credentials.signing_secret, self._clock))
        if self._pages is not None:
            found.append(self._pages.mount)
        return found

    async def run(self, inside: Inside) -> None:
        try:
            if self._credentials.bot_token is not None:
                await self._require_bot_token()
            await self._serve(inside)
        finally:
            if self._pages is not None:
                self._pages.close()
            await self.stop_intake()
            await self._afterwards.close()
            await self._clients.close()

    @property
    def shared(self) -> bool:
        return False  # Slack gives each event to one of the connections, and again to another when that one goes

    async def hand_over(self) -> None:
        pass

    async def stop_intake(self) -> None:
        if self._intake is not None:
            await self._intake.stop()

    @property
    def ready(self) -> bool:
        if self._intake is None:
            return False
        return self._intake.socket.up if self._intake.socket is not None else self._door.is_open

    def describe(self) -> str:
        if not self.ready:
            return f"{PLATFORM} (not connected)"
        return f"{PLATFORM} ({'HTTP' if self._credentials.app_token is None else 'Socket Mode'})"

    async def _serve(self, inside: Inside) -> None:
        def rules(workspace: str, channel: str) -> Rules:
            return inside.rules.of(PLATFORM, workspace, channel)

        clients, clock, afterwards, api = self._clients, self._clock, self._afterwards, WebApi(self._clients, self._clock)
        people, groups = People(clients, clock), UserGroups(api, clock)
        marks = Watermarks(inside.store, clock, replicated=self._replicated, missed=lambda: gaps.began())
        standings = Standings(people, groups, clock, named=named_by(inside.rules))
        await self._restore(marks)
        await self._replicas.announce(inside.store)
        app = build_app(clients)
        registered = register(
            app, inside, api=api, lookup=people.names, standings=standings, afterwards=afterwards, clock=clock
        )
        self._native_stop = registered.native_stop
        Uninstalls(inside.store, clients, marks=marks, rules=inside.rules).listen(app)

        async def once(name: str) -> bool:
            return await inside.store.once(name, at=clock.now())

        async def bring() -> None:
            await put_off.bring()

        away = Away(
            self.surface, clock, check=inside.store.check, since=_said_since, rank=lambda: self._replicas.rank, back=bring
        )
        gate = Gate(
            inside.intake,
            marks,
            people,
            standings,
            FileFacts(api, clock),
            self.surface,
            afterwards,
            clock,
            api=api,
            rules=rules,
            may_speak=inside.authority.may_speak,
            once=once,
            unkept=away.unkept,
            typed=registered.typed.take,
        )
        unanswered = Unanswered(self.surface, clock, once=once)
        sharing = inside.store if self._replicated else None
        gaps = Gaps(gate, marks, api, clock, self._rng, unanswered=unanswered, sharing=sharing)
        put_off = PutOff(gate.take, clock, failed=away.failed, missed=gaps.began)
        hear(app, put_off.take, missed=gaps.began)
        socket = self._socket_mode(gaps)
        self._intake = _Intake(
            door=self._door,
            socket=socket,
            gaps=gaps,
            away=away,
            people=people,
            groups=groups,
            afterwards=afterwards,
            marks=marks,
        )
        if self._pages is not None and self._credentials.client_secret is not None:
            self._installations = ParleyInstallationStore(
                inside.store, self._credentials.client_secret, changed=clients.forget
            )
            self._pages.open(inside.store, self._installations, clients)
        self._door.open(app)
        beside = [
            asyncio.create_task(marks.run(), name="slack.marks"),
            asyncio.create_task(self._replicas.run(inside.store), name="slack.replicas"),
        ]
        try:
            if socket is not None:
                await socket.run()
            else:
                gaps.began()
            await asyncio.Event().wait()  # until cancelled: the surface is still needed
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    def _socket_mode(self, gaps: Gaps) -> SocketMode | None:
        if self._credentials.app_token is None:
            return None
        return SocketMode(
            self._credentials.app_token,
            self._clients.client,
            self._door,
            self._clock,
            self._rng,
            missed=gaps.began,
            replicas=lambda: self._replicas.count,
        )

    async def _require_bot_token(self) -> None:
        """Wait until Slack accepts the token of the settings.

        Raises:
            PlatformRefused.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                await self._clients.me("")
                return
            except (TokenDead, SlackRefused) as exc:
                raise PlatformRefused(_NOT_ACCEPTED.format(exc)) from exc
            except Unreachable:  # it is of one workspace, or of none, among those that installed the app
                return
            except DeliveryError as exc:
                wait = max(pause, exc.retry_after) if isinstance(exc, DeliveryDelayed) else pause
                log.warning("slack.waiting", reason=str(exc), seconds=wait.total_seconds())
                await self._clock.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _restore(self, marks: Watermarks) -> None:
        while True:
            try:
                return await marks.restore()
            except StoreUnavailable as exc:
                log.warning("slack.waiting", reason=str(exc), seconds=FIRST_PAUSE.total_seconds())
                await self._clock.sleep(FIRST_PAUSE)

    async def _token_of(self, workspace: str) -> str | None:
        if not workspace:
            return None
        if self._installations is None:
            raise DeliveryDelayed("the installations are not known yet", retry_after=NOT_YET)
        return await self._installations.token_of(workspace)

    def _person_stopped(self, address: Address) -> None:
        stop = self._native_stop
        if stop is not None:
            thread = address.thread or address.reply_to
            self._afterwards.begin("stop", lambda: stop.stop(address.workspace, address.channel, thread))


def _said_since(address: Address, moment: datetime) -> Address:
    return replace(address, reply_to=ts_of(position_at(moment)))
