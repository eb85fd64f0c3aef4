"""Signs that an answer is on its way: the status line below a thread, and the session of an agent with Slack's own Stop.

None of them is worth failing for, so a workspace that refuses one is left alone with it for a while.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal

import structlog

from bot.adapters.slack.allowances import Allowance
from bot.adapters.slack.api_errors import SlackRefused
from bot.adapters.slack.memory import remember
from bot.adapters.slack.web_api import WebApi
from bot.chat.protocol import Address, DeliveryError, Unreachable
from bot.chat.words import THINKING, THINKING_LONG
from bot.clock import Clock

UNASKED = timedelta(minutes=10)
"""How long a workspace that refuses status lines is left alone; a scope may be granted meanwhile."""

SESSIONS = 20
"""Sessions that are begun in a workspace within a minute. Slack takes 50 changes, and each one begun has to be ended."""

_NO_AGENT = frozenset({"feature_not_enabled", "method_deprecated", "not_authorized", "unknown_method"})

Session = Literal["processing", "active"]

log = structlog.get_logger(__name__)


class Signs:
    """Status lines and sessions, by the thread that a reply belongs to."""

    def __init__(self, api: WebApi, clock: Clock, *, replicas: Callable[[], int] = lambda: 1) -> None:
        """`replicas` tells how many share what Slack allows."""
        self._api = api
        self._clock = clock
        self._refused_until: dict[str, timedelta] = {}
        """By workspace: no status lines before."""
        self._no_agent: set[str] = set()
        """Workspaces in which the app is no agent, for good."""
        self._sessions: dict[tuple[str, str], Session] = {}
        """By channel and thread: what we have set."""
        self._begun = Allowance(clock, SESSIONS, replicas)
        self._outside: dict[tuple[str, str], None] = {}
        """Status lines of threads that get no answer, since it stands beside them: these have to be taken away."""

    async def show(self, address: Address) -> None:
        """Show that we are at work; the line goes with the next post in the thread, or after two minutes.

        Raises:
            DeliveryError.
        """
        thread = address.thread or address.reply_to
        if not thread:
            return
        await self.begin(address)
        if self._clock.monotonic() < self._refused_until.get(address.workspace, timedelta()):
            return
        if not address.thread:
            remember(self._outside, (address.channel, thread), None)
        try:
            await self._set_line(address, thread, THINKING, [THINKING_LONG])
        except (SlackRefused, Unreachable):
            remember(self._refused_until, address.workspace, self._clock.monotonic() + UNASKED)
            raise

    async def begin(self, address: Address) -> None:
        """Tell Slack that the agent is at work, so that it offers its own Stop."""
        await self._set_session(address, "processing")

    async def clear(self, address: Address) -> None:
        """Take the status line away, where no post does."""
        key = (address.channel, address.reply_to)
        if not address.thread and key in self._outside:
            del self._outside[key]
            await _unless_refused(lambda: self._set_line(address, address.reply_to, "", []))

    async def finish(self, address: Address) -> None:
        """Tell Slack that the agent is done; it would believe for an hour that it is not."""
        await self._set_session(address, "active")

    def is_at_work(self, address: Address) -> bool:
        """Slack was told that the agent is at work here, and took it."""
        return self._sessions.get((address.channel, address.thread)) == "processing"

    def noted_finished(self, address: Address) -> None:
        """The end of a stream told Slack that the agent is done."""
        remember(self._sessions, (address.channel, address.thread), "active")

    async def _set_line(self, address: Address, thread: str, status: str, loading: list[str]) -> None:
        more: dict[str, Any] = {"loading_messages": loading} if loading else {}
        await self._api.ask(
            address.workspace,
            lambda client: client.assistant_threads_setStatus(
                channel_id=address.channel, thread_ts=thread, status=status, **more
            ),
        )

    async def _set_session(self, address: Address, status: Session) -> None:
        key = (address.channel, address.thread)
        agent = address.channel.startswith("D") and address.thread and address.workspace not in self._no_agent
        if not agent or self._sessions.get(key) == status:
            return
        if status == "processing" and not self._begun.take(address.workspace):
            remember(self._sessions, key, "active")  # there is nothing to be ended
            return

        before = self._sessions.get(key)
        remember(self._sessions, key, status)  # at once: the sign of work and the first post come at the same time

        async def set_status() -> None:
            await self._api.ask(
                address.workspace,
                lambda client: client.agents_sessions_setStatus(
                    channel_id=address.channel, thread_ts=address.thread, status=status
                ),
            )

        refusal = await _unless_refused(set_status)
        if refusal is None:
            return
        if before is None:
            self._sessions.pop(key, None)
        else:
            remember(self._sessions, key, before)
        if isinstance(refusal, SlackRefused) and refusal.code in _NO_AGENT:
            self._no_agent.add(address.workspace)


async def _unless_refused(act: Callable[[], Awaitable[None]]) -> DeliveryError | None:
    """Do it; return what is in the way of it, if anything is."""
    try:
        await act()
    except DeliveryError as exc:
        log.info("slack.no_sign", error=str(exc))
        return exc
    return None
