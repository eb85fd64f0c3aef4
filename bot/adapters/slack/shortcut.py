"""The message shortcut "Summarise thread": the thread is read once, and becomes a question of whoever asks.

It is answered in the thread, for everybody. Where we are not in the channel we can't read the thread: then the one message
that Slack hands over is answered in the asker's direct messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.context.respond.async_respond import AsyncRespond

from bot.adapters.slack.api_errors import SlackRefused
from bot.adapters.slack.inbound import SOMEONE, Names, people_of, readable, readable_name
from bot.adapters.slack.interactions import Actor, Body, Interactions, Lookup, actor_of
from bot.adapters.slack.private_replies import respond_with
from bot.adapters.slack.stamps import moment_of, position_of
from bot.adapters.slack.standing import Standings
from bot.adapters.slack.web_api import WebApi
from bot.chat import words
from bot.chat.authority import Authority, Rank
from bot.chat.callers import Standing
from bot.chat.intake import Intake, Verdict
from bot.chat.protocol import CommandReply, DeliveryError, IncomingMessage, Place, Unreachable
from store import StoreError

CALLBACK = "parley_summarise"
ACTION = "summarise"
"""What the log of governing calls it."""
PAGE = 1000
"""Messages of the one page that is read, the most that Slack gives: it begins at the oldest."""
MESSAGES = 100
"""Messages that are summarised: the first, and the newest behind it."""
LENGTH = 12_000
"""Characters of all that is quoted: with the default settings a model reads twice as much."""
LINE = 1000
"""Characters of one message."""
PEOPLE = 30
"""People of one thread whose names are looked up."""

Json = Any

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """What could be read of a thread: its first message and the newest; it has `count` in all, as far as Slack tells."""

    messages: Sequence[Json]
    count: int


class SummariseThread:
    """Takes the question in, and tells its asker alone that it did."""

    def __init__(
        self,
        intake: Intake,
        *,
        authority: Authority,
        lookup: Lookup,
        standings: Standings,
        api: WebApi,
        interactions: Interactions,
    ) -> None:
        self._intake = intake
        self._authority = authority
        self._lookup = lookup
        self._standings = standings
        self._api = api
        self._interactions = interactions

    def listen(self, app: AsyncApp) -> None:
        """Take who chooses the shortcut."""
        app.shortcut({"type": "message_action", "callback_id": "parley_summarise"})(self.take)

    async def take(self, ack: AsyncAck, body: Body, context: AsyncBoltContext, respond: AsyncRespond) -> None:
        """Acknowledge the choice, and ask afterwards."""
        await ack()
        actor = actor_of(body, context)
        thread = actor.address.thread
        self._interactions.begin(
            "summary", body, lambda: respond_with(respond, lambda: self._ask(body, actor), thread=thread)
        )

    async def _ask(self, body: Body, actor: Actor) -> CommandReply:
        standing = await self._standings.standing(actor.address.workspace, actor.author_id, team=actor.team)
        # Nothing is read for somebody who may not speak there.
        if refused := await self._authority.authorise(actor.caller(standing), ACTION, Rank.PERSON):
            return CommandReply(text=refused)
        try:
            return CommandReply(text=await self._asked(body, actor, standing))
        except StoreError as exc:
            log.error("summary.failed", reason=str(exc))
            return CommandReply(text=words.STORE_FAILED)
        except DeliveryError as exc:
            log.warning("summary.failed", reason=str(exc))
            return CommandReply(text=words.SUMMARISE_LATER)

    async def _asked(self, body: Body, actor: Actor, standing: Standing) -> str:
        pointed_at = body["message"]
        where, said = actor.address, words.SUMMARISE_TAKEN
        root = where.thread or str(pointed_at["ts"])
        try:
            thread = await self._read(where.workspace, where.channel, root)
        except Unreachable as exc:  # Slack hands one message over, whether we are in the channel or not
            log.info("summary.out_of_reach", reason=str(exc))
            direct = await self._direct(where.workspace, actor.author_id)
            if not direct:
                return words.SUMMARISE_NO_DIRECT
            thread, said = Thread(messages=[pointed_at], count=1), words.SUMMARISE_ALONE
            place, address = Place.DIRECT, replace(where, channel=direct, thread="", reply_to="")
        else:
            place = Place.DIRECT if actor.place is Place.DIRECT else Place.THREAD
            address = replace(where, thread=root, reply_to=root)
        asked_by, people = actor.author_id, [user for message in thread.messages for user in people_of(message)]
        names = await self._lookup(where.workspace, list(dict.fromkeys([asked_by, *people]))[:PEOPLE])
        text = question(thread, names)
        if not text:
            return words.NOTHING_TO_READ
        ts = str(body["action_ts"])
        outcome = await self._intake.take(
            IncomingMessage(
                place=place,
                address=address,
                event_id="",
                message_id=f"summarise-{ts}",
                position=position_of(ts),
                author_id=asked_by,
                author_name=names.get(asked_by),
                text=text,
                sent_at=moment_of(ts),
                standing=standing,
                addressed=True,
            )
        )
        match outcome.verdict:
            case Verdict.TAKEN | Verdict.KNOWN:
                return said
            case Verdict.IGNORED:
                return words.ASK_IGNORED
        return outcome.notice

    async def _read(self, workspace: str, channel: str, root: str) -> Thread:
        """Read the thread once: Slack lets some apps read one page a minute, of 15 messages."""
        answer = await self._api.ask(
            workspace, lambda client: client.conversations_replies(channel=channel, ts=root, limit=PAGE)
        )
        first, *later = answer["messages"]
        return Thread(
            messages=[first, *later[-(MESSAGES - 1) :]],
            count=max(int(first.get("reply_count") or 0), len(later)) + 1,
        )

    async def _direct(self, workspace: str, user: str) -> str:
        try:
            answer = await self._api.ask(workspace, lambda client: client.conversations_open(users=user))
        except (Unreachable, SlackRefused) as exc:
            log.warning("summary.no_direct_message", reason=str(exc))
            return ""
        return str(answer["channel"]["id"])


def question(thread: Thread, names: Names) -> str:
    """Write a thread as a question about it, with who said what; "" when nobody said anything. Pure.

    What does not fit is left out behind the first message, and the question says so.
    """
    lines = [_line(message, names) for message in thread.messages if str(message.get("text") or "").strip()]
    if not lines:
        return ""
    first, later, room = lines[0], list[str](), LENGTH - len(lines[0])
    for line in reversed(lines[1:]):
        room -= len(line) + 1
        if room < 0:
            break
        later.insert(0, line)
    kept = [first, *later]
    left_out = max(len(lines), thread.count) - len(kept)
    task = [words.SUMMARISE, *([words.summarised_in_part(len(kept), len(kept) + left_out)] if left_out else [])]
    return "\n\n".join([" ".join(task), "\n".join(kept)])


def _line(message: Json, names: Names) -> str:
    """Quote one message; what others wrote is told from the question by the mark at the beginning of its lines."""
    text = readable(str(message["text"]), names)
    text = text if len(text) <= LINE else text[: LINE - 1] + "…"
    return "\n".join(f"> {line}" for line in f"{_author(message, names)}: {text}".splitlines())


def _author(message: Json, names: Names) -> str:
    user = str(message.get("user") or "")
    profile = message.get("bot_profile") or {}
    return readable_name(names.of.get(user) or str(message.get("username") or profile.get("name") or SOMEONE))
