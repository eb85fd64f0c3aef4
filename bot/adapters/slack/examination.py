"""The doctor's look at Slack: tokens, scopes, clock, and who else is connected. Changes nothing.

The socket that it opens is greeted and closed at once. Should Slack hand it an event in that moment, it is not acknowledged,
and Slack delivers it again.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.adapters.slack.api_errors import translated
from bot.adapters.slack.clients import SLACK, SlackClients
from bot.adapters.slack.scopes import EVENTS, SCOPES
from bot.chat.protocol import DeliveryDelayed, DeliveryError
from bot.clock import Clock
from bot.findings import Finding, Verdict

WHAT = "Slack"
PORTAL = "api.slack.com/apps"
MANIFEST = "docs/slack-manifest.yaml"
PATIENCE = timedelta(seconds=20)
SKEW = timedelta(seconds=60)
"""A difference of the clocks that is worth a word; a `Date` is of whole seconds, and old when it arrives."""
SIGNATURES = timedelta(minutes=5)
"""Slack's requests are refused when their signature seems older than this."""


async def examine_slack(
    *, bot_token: str | None, app_token: str | None, clock: Clock, base_url: str = SLACK, installs: bool = False
) -> list[Finding]:
    """Find out what is good and what is wrong.

    Without `app_token` requests come by HTTP. `installs`: workspaces install the app by OAuth, each with its own token.
    """
    clients = SlackClients(clock, base_url=base_url)
    found: list[Finding] = []
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            if bot_token is not None:
                found += await _bot(clients.client(bot_token), clock, signed=app_token is None)
            if installs:
                found.append(_note("workspaces install it by OAuth: their tokens are looked at when they are used"))
            if app_token is not None:
                found.append(await _socket(clients.client(app_token), clients.session))
            else:
                text = (
                    "requests are awaited at /slack/events: Slack has to reach that address, which stands under "
                    f"{PORTAL}, your app, Event Subscriptions, Interactivity & Shortcuts, and in both Slash Commands"
                )
                found.append(_note(text))
    except TimeoutError:
        found.append(_bad("it does not answer: look at the network and at slack-status.com"))
    finally:
        await clients.close()
    # Slack shows an app's subscriptions to nobody who has only its tokens.
    text = (
        f"its event subscriptions can't be read: compare {PORTAL}, your app, Event Subscriptions, Subscribe to bot events "
        f"with {MANIFEST}; there are {len(EVENTS)}"
    )
    return [*found, _note(text)]


async def _bot(client: AsyncWebClient, clock: Clock, *, signed: bool) -> list[Finding]:
    try:
        with translated(repeatable=True):
            answer = await client.auth_test()
    except DeliveryError as exc:
        return [_failure(exc, "SLACK_BOT_TOKEN", "OAuth & Permissions, Bot User OAuth Token")]
    found = [_good(f"{answer.get('team')}: the bot token is good, it is @{answer.get('user')}"), _scopes(answer)]
    skew = _skew(answer.headers, clock.now())
    if skew is not None and abs(skew) >= SKEW:
        seconds = round(abs(skew).total_seconds())
        text = f"this machine's clock is {seconds} s {'ahead of' if skew > timedelta() else 'behind'} Slack's: set it by NTP"
        if signed and abs(skew) >= SIGNATURES:
            found.append(_bad(f"{text}, requests of Slack are refused until then"))
        else:
            found.append(_note(text))
    return found


def _scopes(answer: AsyncSlackResponse) -> Finding:
    written = _header(answer.headers, "x-oauth-scopes")
    granted = {scope.strip() for scope in written.split(",") if scope.strip()}
    if missing := sorted(SCOPES - granted):
        text = (
            f"it lacks {_scope_list(missing)}: add that under {PORTAL}, your app, OAuth & Permissions, Bot Token Scopes, "
            "then press Reinstall"
        )
        return _bad(text)
    if more := sorted(granted - SCOPES):
        text = f"it has {_scope_list(more)} more than {MANIFEST}: remove that under {PORTAL}, your app, OAuth & Permissions"
        return _note(text)
    return _good("its scopes are those of the manifest")


async def _socket(client: AsyncWebClient, session: aiohttp.ClientSession) -> Finding:
    try:
        with translated(repeatable=True):
            address = str((await client.apps_connections_open(app_token=client.token or ""))["url"])
            async with session.ws_connect(address) as socket:
                hello = json.loads(await socket.receive_str())
    except DeliveryError as exc:
        return _failure(exc, "SLACK_APP_TOKEN", "Basic Information, App-Level Tokens, with the scope connections:write")
    except TypeError:  # Slack closed it instead of greeting
        return _bad(f"Slack refuses the socket: look under {PORTAL}, your app, Socket Mode, whether it is switched on")
    others = int(hello.get("num_connections") or 1) - 1
    if others > 0:
        text = (
            f"Socket Mode works; {others} more {'socket is' if others == 1 else 'sockets are'} open with this app: Slack "
            "hands each event to one of them, so all must be the same Parley on the same store"
        )
        return _note(text)
    return _good("Socket Mode works, nobody else is connected with this app")


def _failure(failure: DeliveryError, setting: str, where: str) -> Finding:
    """Tell a token that is refused from a Slack that can't be asked."""
    cause = failure.__cause__
    if isinstance(cause, SlackApiError) and not isinstance(failure, DeliveryDelayed):
        code = cause.response.get("error")
        return _bad(f"{setting} is not accepted ({code}): copy it anew from {PORTAL}, your app, {where}")
    return _bad(f"it can't be asked right now ({failure}): look at the network and at slack-status.com")


def _skew(headers: Mapping[str, Any], now: datetime) -> timedelta | None:
    """Tell how far this machine's clock is ahead of Slack's; None when Slack does not say."""
    try:
        return now - parsedate_to_datetime(_header(headers, "date"))
    except (TypeError, ValueError):  # a Date without a time zone can't be subtracted
        return None


def _header(headers: Mapping[str, Any], name: str) -> str:
    return next((str(value) for key, value in headers.items() if key.lower() == name), "")


def _scope_list(scopes: list[str]) -> str:
    return f"the {'scope' if len(scopes) == 1 else 'scopes'} {', '.join(scopes)}"


def _good(text: str) -> Finding:
    return Finding(verdict=Verdict.GOOD, what=WHAT, text=text)


def _note(text: str) -> Finding:
    return Finding(verdict=Verdict.NOTE, what=WHAT, text=text)


def _bad(text: str) -> Finding:
    return Finding(verdict=Verdict.BAD, what=WHAT, text=text)
