"""The agent view: what is proposed to whoever opens it, and what they look at beside it."""

from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.adapters.slack.interactions import Afterwards, Body, workspace_of
from bot.adapters.slack.web_api import WebApi
from bot.chat import words


class AgentView:
    """Proposes what could be asked."""

    def __init__(self, *, api: WebApi, afterwards: Afterwards) -> None:
        self._api = api
        self._afterwards = afterwards

    def listen(self, app: AsyncApp) -> None:
        """Take Slack's event of somebody who turns to another channel; we answer no differently for it."""
        app.event("app_context_changed")(self.take_context)

    def opened(self, event: Body, context: AsyncBoltContext) -> None:
        """Propose something: the messages tab was opened."""
        workspace, channel = workspace_of(context), str(event["channel"])
        self._afterwards.begin("prompts", lambda: self._propose(workspace, channel))

    async def take_context(self) -> None:
        """Acknowledge it."""

    async def _propose(self, workspace: str, channel: str) -> None:
        prompts = [{"title": title, "message": message} for title, message in words.PROMPTS.items()]
        await self._api.ask(
            workspace,
            lambda client: client.assistant_threads_setSuggestedPrompts(
                channel_id=channel, prompts=prompts, title=words.PROMPTS_TITLE
            ),
        )
