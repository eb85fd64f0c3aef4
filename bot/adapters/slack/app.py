"""Bolt's app as we set it up: who we are where a request comes from, who hears what, and what is acknowledged.

Bolt acknowledges when a listener returns and not before (`process_before_response`), so a listener that raises leaves the
event with Slack, which delivers it again. What nobody listens to is acknowledged too: Slack would go on delivering it.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.adapters.failures import describe
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.door import attempt_of
from bot.adapters.slack.inbound import Us
from bot.adapters.slack.interactions import workspace_of
from bot.adapters.slack.log_lines import bolt_log
from bot.adapters.slack.put_off import Take
from bot.chat.protocol import DeliveryError, Unreachable
from store import StoreClosed, StoreUnavailable

Json = Any

ANYTHING = re.compile("")
SPEECH = ("message", "app_mention")
"""Nearly all that comes, and no listener's but ours: taken before Bolt asks one listener after the other whether it is its,
which was two fifths of what an event cost."""

log = structlog.get_logger(__name__)


def build_app(clients: SlackClients) -> AsyncApp:
    """Build an app that hears nothing yet; `hear` comes after all other listeners.

    Requests reach it by a `Door`; the signatures of those that have one were looked at before.
    """

    async def authorize(context: AsyncBoltContext) -> AuthorizeResult | None:
        workspace = workspace_of(context)
        try:
            client, me = await clients.of(workspace), await clients.me(workspace)
        except Unreachable as exc:
            log.warning("slack.not_ours", workspace=workspace, reason=str(exc))
            return None
        return AuthorizeResult(
            enterprise_id=context.enterprise_id,
            team_id=context.team_id,
            bot_user_id=me.user_id,
            bot_id=me.bot_id,
            bot_token=client.token,
        )

    app = AsyncApp(
        name="parley",
        logger=bolt_log(),
        client=clients.client(),
        authorize=authorize,  # type: ignore[arg-type]  # None is for a workspace that we are not installed in
        process_before_response=True,
        request_verification_enabled=False,
        signing_secret="",
    )
    app.error(answer_failure)
    return app


def hear(app: AsyncApp, take_in: Take, *, missed: Callable[[], None]) -> None:
    """Have every event taken in that no listener before this one takes, unknown ones too.

    `missed` is called when Slack tells that it drops events: of more than 30,000 an hour in one workspace.
    """

    async def take(event: Json, body: Json, context: AsyncBoltContext, request: AsyncBoltRequest) -> None:
        us = Us(workspace=workspace_of(context), user_id=context.bot_user_id or "", bot_id=context.bot_id or "")
        await take_in(event, us, event_id=str(body.get("event_id") or ""), delivery=attempt_of(request.headers))

    async def take_speech(
        body: Json, context: AsyncBoltContext, request: AsyncBoltRequest, next: Callable[[], Awaitable[BoltResponse]]
    ) -> BoltResponse:
        event = body.get("event") if body.get("type") == "event_callback" else None
        if not isinstance(event, dict) or event.get("type") not in SPEECH:
            return await next()
        await take(event, body, context, request)
        return BoltResponse(status=200, body="")

    async def take_limit(body: Json, next: Callable[[], Awaitable[BoltResponse]]) -> BoltResponse:
        if body.get("type") != "app_rate_limited":
            return await next()
        log.warning("slack.events_dropped", workspace=str(body.get("team_id")))
        missed()
        return BoltResponse(status=200, body="")

    app.middleware(take_speech)
    app.middleware(take_limit)
    app.event(ANYTHING)(take)


async def answer_failure(error: Exception, body: Json) -> BoltResponse:
    """Say that a request was not taken, so that Slack delivers it again, and why in one line."""
    event = body.get("event") or {}
    kind = str(event.get("type") or body.get("type") or body.get("command"))
    if isinstance(error, StoreUnavailable | StoreClosed | DeliveryError):
        log.warning("slack.not_taken", kind=kind, reason=str(error))
        return BoltResponse(status=503, body="")
    log.error("slack.handler_failed", kind=kind, error=describe(error))
    return BoltResponse(status=500, body="")
