"""One call of Slack's Web API: in its workspace's name, within a time, and with failures that delivery understands."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.adapters.slack.api_errors import TokenDead, translated
from bot.adapters.slack.clients import SlackClients
from bot.clock import Clock, time_limit

CALL_LIMIT = timedelta(seconds=15)
"""How long one call may take; Slack answers within a second or two."""

Request = Callable[[AsyncWebClient], Awaitable[AsyncSlackResponse]]


class WebApi:
    """Calls by workspace.

    Raises (all calls): SlackRefused for what a caller may get around, and any other DeliveryError.
    """

    def __init__(self, clients: SlackClients, clock: Clock) -> None:
        self.clients = clients
        self._clock = clock

    async def ask(self, workspace: str, request: Request, *, repeatable: bool = True) -> Mapping[str, Any]:
        """Make a call and return what Slack says. Unless it is `repeatable`, a lost answer is an OutcomeUnknown."""
        client = await self.clients.of(workspace)
        try:
            with translated(repeatable=repeatable):
                async with time_limit(self._clock, CALL_LIMIT):
                    answer = await request(client)
                    return dict(answer.data)  # type: ignore[arg-type]  # bytes are what other calls return
        except TokenDead:
            self.clients.forget(workspace)
            raise
