"""Slack's own stop button: what runs in its thread is stopped, and the session is active again.

Slack shows the button to whom it likes and tells who pressed it, so nothing is left to judge. Until the app says that the
session is active, its thread looks busy for about an hour.
"""

from collections.abc import Collection

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.slack.interactions import Afterwards, Body, workspace_of
from bot.adapters.slack.web_api import WebApi
from bot.chat.controls import ControlPresses
from store import ConversationKey, MessageName, Store

MESSAGES = 10
"""Streaming messages of one thread that are looked at."""

log = structlog.get_logger(__name__)


class NativeStop:
    """Stops what people stop in Slack's own way."""

    def __init__(self, presses: ControlPresses, *, store: Store, api: WebApi, afterwards: Afterwards) -> None:
        self._presses = presses
        self._store = store
        self._api = api
        self._afterwards = afterwards

    def listen(self, app: AsyncApp) -> None:
        """Take Slack's event."""
        app.event("agent_session_stopped")(self.take)

    async def take(self, event: Body, context: AsyncBoltContext) -> None:
        """Stop before the event is acknowledged: while the store fails, Slack tells again."""
        streaming = [str(ts) for ts in event.get("streaming_message_ts") or ()]
        await self.stop(workspace_of(context), str(event["channel"]), str(event["thread_ts"]), streaming)

    async def stop(self, workspace: str, channel: str, thread_ts: str, streaming: Collection[str] = ()) -> None:
        """Stop what runs in a thread; `streaming` are the messages that its answer is growing in. Repeating it is no error.

        Raises:
            StoreUnavailable.
        """
        found = await self._conversations(workspace, channel, thread_ts, streaming)
        for conversation_id in found:
            await self._presses.stop(conversation_id)
        if not found:
            log.info("slack.stop_without_conversation", channel=channel)
        self._afterwards.begin("stop", lambda: self._be_active(workspace, channel, thread_ts))

    async def _conversations(self, workspace: str, channel: str, thread_ts: str, streaming: Collection[str]) -> set[int]:
        """Find the conversations by the messages that grow, by the thread, or by the message that the thread begins at."""
        found = set()
        for ts in list(streaming)[:MESSAGES]:
            name = MessageName(platform=PLATFORM, workspace=workspace, channel=channel, id=ts)
            if located := await self._store.locate(name):
                found.add(located.conversation.id)
        if found:
            return found
        key = ConversationKey(platform=PLATFORM, workspace=workspace, channel=channel, thread=thread_ts)
        if conversation := await self._store.find(key):
            return {conversation.id}
        root = MessageName(platform=PLATFORM, workspace=workspace, channel=channel, id=thread_ts)
        located = await self._store.locate(root)
        return {located.conversation.id} if located else set()

    async def _be_active(self, workspace: str, channel: str, thread_ts: str) -> None:
        await self._api.ask(
            workspace,
            lambda client: client.agents_sessions_setStatus(channel_id=channel, thread_ts=thread_ts, status="active"),
        )
