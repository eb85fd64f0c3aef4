"""The install pages: `/slack/install` sends people to Slack, and to `/slack/oauth_redirect` they come back with a code.

Slack takes the redirect URL of the app's configuration: ours is not passed, since a web side behind a proxy does not know
under which address people see it. A way there and back works once, in one browser, for ten minutes.
"""

import base64
import binascii
import hmac
import html
import os
import re
from datetime import timedelta
from urllib.parse import quote

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.oauth.async_callback_options import AsyncCallbackOptions, AsyncFailureArgs, AsyncSuccessArgs
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.oauth import AuthorizeUrlGenerator
from slack_sdk.oauth.installation_store import Installation
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from bot.adapters.slack.api_errors import translated
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.installations import ParleyInstallationStore
from bot.adapters.slack.log_lines import bolt_log
from bot.adapters.slack.scopes import SCOPES
from bot.adapters.slack.sealing import key_from
from bot.chat import words
from bot.chat.protocol import DeliveryError
from bot.clock import Clock
from store import Store, StoreError

INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"
STATE_LIFE = timedelta(minutes=10)
"""What people have for Slack's page; much less than the store knows a name that was used (`Store.once`)."""
CANCELLED = "access_denied"

_NUMBER_BYTES, _TIME_BYTES, _TAG = 16, 8, "sha256"
_TEAM = re.compile(r"[TE][A-Z0-9]{1,30}", re.ASCII)

log = structlog.get_logger(__name__)


class OneTimeStates(AsyncOAuthStateStore):
    """States that were issued by a process with the same client secret, each good for one return within `STATE_LIFE`.

    Nothing is kept of those that nobody returns with: anybody may ask for any number of them.
    """

    def __init__(self, store: Store, client_secret: str, clock: Clock) -> None:
        self._store = store
        self._key = key_from(client_secret, "slack oauth states")
        self._clock = clock

    async def async_issue(self, *args: object, **kwargs: object) -> str:
        """Make a state."""
        until = int((self._clock.now() + STATE_LIFE).timestamp())
        claim = os.urandom(_NUMBER_BYTES) + until.to_bytes(_TIME_BYTES)
        return base64.urlsafe_b64encode(claim + self._tag(claim)).decode().rstrip("=")

    async def async_consume(self, state: str) -> bool:
        """Tell whether a state is good, which it is once.

        Raises:
            StoreUnavailable: it was not used by this.
        """
        try:
            sealed = base64.b64decode(state + "=" * (-len(state) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return False
        claim, tag = sealed[: _NUMBER_BYTES + _TIME_BYTES], sealed[_NUMBER_BYTES + _TIME_BYTES :]
        if not hmac.compare_digest(tag, self._tag(claim)):
            return False
        now = self._clock.now()
        if now.timestamp() >= int.from_bytes(claim[_NUMBER_BYTES:]):
            return False
        # By what was signed: one state can be written in several ways.
        return await self._store.once(f"slack oauth {claim.hex()}", at=now)

    def _tag(self, claim: bytes) -> bytes:
        return hmac.digest(self._key, claim, _TAG)


class InstallPages:
    """The two pages. They are there from the start, and work between `open` and `close`."""

    def __init__(self, *, client_id: str, client_secret: str, base_url: str, clock: Clock) -> None:
        """`base_url` is the Web API's; the page where people allow the app stands beside it."""
        self._client_id = client_id
        self._client_secret = client_secret
        self._authorize_url = f"{base_url.removesuffix('api/')}oauth/v2/authorize"
        self._clock = clock
        self._flow: AsyncOAuthFlow | None = None

    def open(self, store: Store, installations: ParleyInstallationStore, clients: SlackClients) -> None:
        """Let people install the app from now on."""
        settings = AsyncOAuthSettings(
            client_id=self._client_id,
            client_secret=self._client_secret,
            scopes=sorted(SCOPES),
            user_scopes=[],
            install_path=INSTALL_PATH,
            redirect_uri_path=REDIRECT_PATH,
            install_page_rendering_enabled=False,
            callback_options=AsyncCallbackOptions(success=_succeeded, failure=_failed),
            authorization_url=self._authorize_url,
            installation_store=installations,
            state_store=OneTimeStates(store, self._client_secret, self._clock),
            state_expiration_seconds=int(STATE_LIFE.total_seconds()),
            logger=bolt_log(),
        )
        settings.redirect_uri = None  # the SDK looks for one in the environment
        self._flow = _Flow(client=clients.client(), logger=bolt_log(), settings=settings)

    def close(self) -> None:
        """Let nobody install it any more."""
        self._flow = None

    def mount(self, app: web.Application) -> None:
        """Add the pages to the web side."""
        app.router.add_get(INSTALL_PATH, self._install, allow_head=False)
        app.router.add_get(REDIRECT_PATH, self._return, allow_head=False)

    async def _install(self, request: web.Request) -> web.Response:
        flow = self._flow
        if flow is None:
            return _not_now()
        return await to_aiohttp_response(await flow.handle_installation(await to_bolt_request(request)))

    async def _return(self, request: web.Request) -> web.Response:
        flow = self._flow
        if flow is None:
            return _not_now()
        try:
            return await to_aiohttp_response(await flow.handle_callback(await to_bolt_request(request)))
        except (DeliveryError, StoreError) as exc:
            log.warning("slack.not_installed", reason=str(exc))
            return _not_now()


class _Flow(AsyncOAuthFlow):
    """Bolt's flow with what it leaves open."""

    async def build_authorize_url(self, state: str, request: AsyncBoltRequest) -> str:
        # Bolt takes what stands in the query for the workspace as it is into a header.
        team = (request.query.get("team") or [""])[0]
        generator = AuthorizeUrlGenerator(
            client_id=quote(self.settings.client_id, safe=""),
            scopes=self.settings.scopes,
            authorization_url=self.settings.authorization_url,
        )
        return generator.generate(state, team if _TEAM.fullmatch(team) else None)

    async def run_installation(self, code: str) -> Installation | None:
        with translated(repeatable=False):  # a code works once
            return await super().run_installation(code)


async def _succeeded(args: AsyncSuccessArgs) -> BoltResponse:
    installation = args.installation
    log.info(
        "slack.installed",
        team=installation.team_id,
        enterprise=installation.enterprise_id,
        org_wide=bool(installation.is_enterprise_install),
        by=installation.user_id,
    )
    team = f"&team={quote(installation.team_id)}" if installation.team_id else ""
    where = f"https://slack.com/app_redirect?app={quote(installation.app_id or '')}{team}"
    name = installation.enterprise_name if installation.is_enterprise_install else installation.team_name
    return _page(200, words.app_installed(name or "your workspace"), where, words.OPEN_SLACK)


async def _failed(args: AsyncFailureArgs) -> BoltResponse:
    cancelled = args.reason == CANCELLED
    # The reason may be anybody's words: only what bolt itself says is written down.
    log.info("slack.not_installed", status=args.suggested_status_code, cancelled=cancelled)
    text = words.INSTALL_CANCELLED if cancelled else words.INSTALL_FAILED
    return _page(args.suggested_status_code, text, INSTALL_PATH, words.INSTALL_AGAIN)


def _page(status: int, text: str, link: str, label: str) -> BoltResponse:
    body = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Parley</title>'
        '<meta name="viewport" content="width=device-width"></head>'
        f'<body><h1>Parley</h1><p>{html.escape(text)}</p><p><a href="{html.escape(link)}">{html.escape(label)}</a></p>'
        "</body></html>\n"
    )
    return BoltResponse(status=status, body=body, headers={"Content-Type": "text/html; charset=utf-8"})


def _not_now() -> web.Response:
    return web.Response(status=503, text=f"{words.INSTALL_LATER}\n", headers={"Retry-After": "10"})
