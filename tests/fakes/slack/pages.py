"""What Slack serves beside the Web API: response_urls, and the page where people agree to have an app."""

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.slack import interacting
from tests.fakes.slack.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack

_TIMES = 5
_LIFE = timedelta(minutes=30)


async def respond(slack: "FakeSlack", request: web.Request) -> web.Response:
    """Take what the app posts to a response_url, which works five times within half an hour."""
    interaction = interacting.find_trigger(slack, request.match_info["number"])
    if interaction is None or slack.clock.monotonic() - interaction.at > _LIFE:
        return web.json_response({"ok": False, "error": "expired_url"}, status=404)
    if len(interaction.responses) >= _TIMES:
        return web.json_response({"ok": False, "error": "used_url"}, status=404)
    body = await request.json()
    interaction.responses.append(body)
    try:
        interacting.respond(interaction, body)
    except Refusal as refusal:
        return web.json_response(refusal.json(), status=400)
    if interaction.cut and request.transport is not None:
        request.transport.close()
    return web.Response(text="ok")


async def authorize(slack: "FakeSlack", request: web.Request) -> web.Response:
    """Let `slack.installing` agree at once, and send the browser back with the code."""
    if request.query.get("client_id") != slack.client_id:
        return web.Response(status=400, text="invalid client_id")
    user = slack.installing or next(iter(slack.workspace.users.values()))
    back = {"code": slack.grant(user), "state": request.query.get("state", "")}
    raise web.HTTPFound(f"{request.query.get('redirect_uri') or slack.redirect_url}?{urlencode(back)}")
