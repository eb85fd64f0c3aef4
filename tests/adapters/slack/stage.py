"""The stage of the matrix: everybody who may turn up in a workspace, and what a refusal must leave as it was."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bot.chat.authority import Rank
from bot.chat.words_governing import HOSTS_ONLY, REFUSALS
from store import AuditEntry
from tests.adapters.slack.interactive import InteractiveBot, interactive
from tests.fakes.slack import Channel, FakeSlack, Message, User
from tests.fakes_slack.bots import by_http

CAST: dict[str, Rank | None] = {
    "host": Rank.HOST,
    "owner": Rank.OPERATOR,
    "operator by a group": Rank.OPERATOR,
    "member": Rank.PERSON,
    "guest": Rank.ANYONE,
    "external": Rank.ANYONE,
    "owner and operator of another workspace": Rank.ANYONE,
    "bot": None,
    "member of whom Slack does not tell": Rank.ANYONE,
    "owner of whom Slack does not tell": Rank.ANYONE,
    "operator by a group of whom Slack does not tell": Rank.ANYONE,
    "operator by a group that Slack does not tell": Rank.PERSON,
}
"""Everybody, and what they may do."""
SOMEBODY_ELSES = ("audit", "seen")
"""The tables that a refused call may write in: the log of governing, and the names of deliveries."""
PLENTY = {"users.info": 10_000, "usergroups.list": 10_000, "chat.postEphemeral": 10_000, "conversations.open": 10_000}
MINUTE = timedelta(seconds=61)

Dump = dict[str, list[tuple[object, ...]]]


@dataclass
class Stage:
    """The bot, whoever is tried, and Ada, who has asked something in a channel where all of them are."""

    bot: InteractiveBot
    actor: User
    rank: Rank | None
    ada: User
    general: Channel
    root: Message
    answers: list[Message]
    database: Path

    def dump(self) -> Dump:
        """Everything that the store keeps, but `SOMEBODY_ELSES`."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            kept = [name for name in names if not name.startswith("sqlite_") and name not in SOMEBODY_ELSES]
            return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in kept}  # noqa: S608

    async def refusals(self) -> list[AuditEntry]:
        """What was refused to the actor, the newest first."""
        entries = await self.bot.store.audit_log("slack", self.bot.slack.workspace.id, limit=100)
        return [entry for entry in entries if not entry.allowed and entry.author_id == self.actor.id]

    def seen(self) -> list[object]:
        """Everything that anybody but the actor can see."""
        slack = self.bot.slack
        shown = [(message.ts, message.shown) for channel in slack.channels.values() for message in channel.messages]
        whispered = [one.shown for one in slack.ephemerals if one.user is not self.actor]
        return [*shown, *whispered]

    async def later(self) -> None:
        """Let a minute pass, in which nothing is due: refusals are noted once in it, and people are asked about anew."""
        await self.bot.clock.advance(MINUTE)
        await self.bot.quiet()


@asynccontextmanager
async def on_stage(
    name: str, directory: Path, *steps: object, questions: int = 1, growing: int = 0, ttl: timedelta | None = None
) -> AsyncIterator[Stage]:
    """Let somebody of the cast turn up; Ada asks so many questions before, each in a thread of its own.

    So many of the answers are still `growing` then.
    """
    database = directory / "parley.db"
    async with FakeSlack(retry_after=(timedelta(),) * 3, limits=PLENTY) as slack:
        home = slack.workspace
        elsewhere = home.user("Mallory", external=True, owner=True)
        async with interactive(
            *steps,
            slack=slack,
            run=by_http,  # what is not taken is said at once there
            ttl=ttl,
            operators=[f"slack:{elsewhere.team_id}/{elsewhere.id}"],
            database=f"sqlite:///{database}",
        ) as bot:
            ada = home.user("Ada")
            people = {
                "host": bot.olga,
                "owner": home.user("Ora", owner=True),
                "operator by a group": home.user("Gus"),
                "member": home.user("Bob"),
                "guest": home.user("Gil", guest=True),
                "external": home.user("Eve", external=True),
                "owner and operator of another workspace": elsewhere,
                "bot": home.user("robot", bot=True),
                "member of whom Slack does not tell": home.user("Lot"),
                "owner of whom Slack does not tell": home.user("Luc", owner=True),
                "operator by a group of whom Slack does not tell": home.user("Lea"),
                "operator by a group that Slack does not tell": home.user("Lin"),
            }
            actor = people[name]
            group = home.group(*(user for part, user in people.items() if "group" in part))
            general = home.channel("general", ada, *people.values(), connected=True)
            roots = []
            for number in range(questions):
                roots.append(await ada.say(general, f"{home.bot.mention} question {number}"))
                await bot.until(lambda: len(_answers(general)) == len(roots) and _answers(general)[-1].buttons)

            async def settled() -> bool:
                status = await bot.store.status()
                return slack.quiet and status.queued == 0 and status.running == bot.turns.running == growing

            await bot.until(settled)
            # Named only now, so nothing of it is known from before.
            await bot.choose("operator", "on", subject=f"group:{group.removeprefix('<!subteam^').removesuffix('>')}")
            if "of whom" in name:
                slack.fail("users.info", status=500, times=10**6, when=lambda asked: asked.body.get("user") == actor.id)
            if "that Slack does not tell" in name:
                slack.fail("usergroups.list", status=500, times=10**6)
            yield Stage(bot, actor, CAST[name], ada, general, roots[0], _answers(general), database)


def is_refusal(text: str) -> bool:
    """Tell the sentences of refusals from all that commands answer."""
    return text in REFUSALS.values() or text == HOSTS_ONLY or text.startswith("There is no such command")


def _answers(channel: Channel) -> list[Message]:
    return [message for message in channel.messages if message.author is channel.team.bot]
