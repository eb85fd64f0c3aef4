"""The Web API's clients: one for each workspace, all on one HTTP session, each with its workspace's token."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.adapters.fencing import fencing
from bot.adapters.slack.api_errors import MOMENT, SlackRefused, TokenDead, translated
from bot.adapters.slack.log_lines import sdk_log
from bot.adapters.slack.memory import remember
from bot.chat.protocol import DeliveryDelayed, Unreachable
from bot.clock import Clock
from store import StoreUnavailable

SLACK = "https://slack.com/api/"
REMEMBERED = timedelta(minutes=5)
"""How long a token from the store is used without asking again: another process may have got a new one."""
TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=5)
"""The SDK's own is not used with a session that is shared."""
CONNECTIONS = 100

log = structlog.get_logger(__name__)

FindToken = Callable[[str], Awaitable[str | None]]
"""Tells the bot token of a workspace (a team id, or an enterprise id) from the installations; None when there is none.

Raises:
    StoreUnavailable.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """Who a token is: the bot in its workspace. `team_id` is "" for a token of a whole enterprise."""

    team_id: str
    enterprise_id: str
    user_id: str
    bot_id: str


@dataclass(slots=True)
class _Known:
    client: AsyncWebClient
    until: timedelta


class SlackClients:
    """Clients by workspace. To be closed with `close`, once nothing uses them any more."""

    def __init__(
        self, clock: Clock, *, base_url: str = SLACK, token: str | None = None, find_token: FindToken | None = None
    ) -> None:
        """`token` is the setting: the one of all workspaces, or where there is `find_token` too, of its own."""
        self._clock = clock
        self._base_url = base_url
        self._token = token
        self._find_token = find_token
        self._session: aiohttp.ClientSession | None = None
        self._clients: dict[str, _Known] = {}
        self._selves: dict[str, Me] = {}
        self._asking = asyncio.Lock()
        self._refused_until = timedelta()
        """The token of the settings is not tried before."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """The one HTTP session; it is made when it is first needed, inside the event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),  # workspaces have nothing to do with each other
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                trace_configs=[fencing(aiohttp.TraceConfig())],
            )
        return self._session

    async def of(self, workspace: str) -> AsyncWebClient:
        """Return the client of a workspace (a team id or an enterprise id).

        Raises:
            Unreachable: the app is not installed there, or not any more.
            DeliveryDelayed: it can't be found out now.
        """
        known = self._clients.get(workspace)
        if known is None or self._clock.monotonic() >= known.until:
            try:
                token = await self._token_of(workspace)
            except DeliveryDelayed:
                if known is None:
                    raise
                return known.client  # while the store is away; Slack itself says when the token is not valid any more
            if token is None:
                self._clients.pop(workspace, None)
                raise Unreachable("the app is not installed in this workspace: install it anew")
            client = known.client if known is not None and known.client.token == token else self.client(token)
            known = self._clients[workspace] = _Known(client, self._clock.monotonic() + REMEMBERED)
        return known.client

    def client(self, token: str | None = None) -> AsyncWebClient:
        """Make a client with this token, or with none. It repeats nothing by itself: a repeated post is a second one."""
        return AsyncWebClient(
            token=token, base_url=self._base_url, session=self.session, retry_handlers=[], logger=sdk_log()
        )

    async def me(self, workspace: str) -> Me:
        """Tell who the bot is in a workspace; Slack is asked once for each token.

        Raises:
            DeliveryError: as `of`, and when Slack does not tell.
        """
        client = await self.of(workspace)
        return await self._identify(client)

    def forget(self, workspace: str) -> None:
        """Ask for the token of a workspace anew: the one that was known is not valid any more."""
        self._clients.pop(workspace, None)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _token_of(self, workspace: str) -> str | None:
        if self._token is not None and (self._find_token is None or await self._is_of(self._token, workspace)):
            return self._token
        if self._find_token is None:
            return None
        try:
            return await self._find_token(workspace)
        except StoreUnavailable as exc:
            raise DeliveryDelayed("the store does not tell the token of the workspace", retry_after=MOMENT) from exc

    async def _is_of(self, token: str, workspace: str) -> bool:
        if self._clock.monotonic() < self._refused_until:
            return False
        try:
            me = await self._identify(self.client(token))
        except (TokenDead, SlackRefused) as exc:  # the workspaces that installed the app have tokens of their own
            self._refused_until = self._clock.monotonic() + REMEMBERED
            log.error("slack.bot_token_refused", reason=str(exc), remedy="take SLACK_BOT_TOKEN out, or copy it anew")
            return False
        return workspace == (me.team_id or me.enterprise_id)

    async def _identify(self, client: AsyncWebClient) -> Me:
        token = client.token or ""
        if token in self._selves:  # whoever is known does not wait for those whom Slack is asked about
            return self._selves[token]
        async with self._asking:
            if token not in self._selves:
                with translated(repeatable=True):
                    answer = await client.auth_test()
                    org_wide = bool(answer.get("is_enterprise_install"))
                    me = Me(
                        team_id="" if org_wide else str(answer.get("team_id") or ""),
                        enterprise_id=str(answer.get("enterprise_id") or ""),
                        user_id=str(answer.get("user_id") or ""),
                        bot_id=str(answer.get("bot_id") or ""),
                    )
                remember(self._selves, token, me)
            return self._selves[token]
