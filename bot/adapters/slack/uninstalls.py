"""What happens when a workspace takes the app away: all that belongs to it is erased.

Slack tells it twice, by `tokens_revoked` and by `app_uninstalled`, in any order, and once more for as long as it is not
acknowledged; by the time we hear of it the workspace may have installed the app again. So Slack is asked whether the token
that we hold still works before anything is erased.
"""

from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.adapters.slack.api_errors import translated
from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import workspace_of
from bot.adapters.slack.watermarks import Watermarks
from bot.chat.protocol import Unreachable
from bot.chat.rules import RuleBook
from store import Store

log = structlog.get_logger(__name__)


class Uninstalls:
    """Listens for the two events. What raises is not acknowledged, and Slack tells it again."""

    def __init__(self, store: Store, clients: SlackClients, *, marks: Watermarks, rules: RuleBook) -> None:
        self._store = store
        self._clients = clients
        self._marks = marks
        self._rules = rules

    def listen(self, app: AsyncApp) -> None:
        """Take the events."""
        app.event("app_uninstalled")(self.uninstalled)
        app.event("tokens_revoked")(self.revoked)

    async def uninstalled(self, context: AsyncBoltContext) -> None:
        """Erase all of the workspace."""
        await self._purge(workspace_of(context))

    async def revoked(self, event: dict[str, Any], context: AsyncBoltContext) -> None:
        """Erase the installations of the users named; without the bot's token all of the workspace goes."""
        workspace, tokens = workspace_of(context), event.get("tokens") or {}
        if not workspace:
            return
        for user in tokens.get("oauth") or ():
            await self._store.remove_installation(PLATFORM, workspace, str(user))
        if tokens.get("bot"):
            await self._purge(workspace)

    async def _purge(self, workspace: str) -> None:
        if not workspace:
            return
        if await self._is_installed(workspace):
            log.info("slack.installed_again", workspace=workspace)
            return
        self._marks.forget(workspace)
        conversations = await self._store.purge_workspace(PLATFORM, workspace)
        self._clients.forget(workspace)
        await self._rules.load(PLATFORM)
        log.info("slack.uninstalled", workspace=workspace, conversations=conversations)

    async def _is_installed(self, workspace: str) -> bool:
        self._clients.forget(workspace)
        try:
            client = await self._clients.of(workspace)
            with translated(repeatable=True):
                await client.auth_test()
        except Unreachable:  # no token, or a dead one
            return False
        return True
