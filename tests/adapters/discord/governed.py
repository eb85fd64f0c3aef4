"""A server with everybody who may turn up in it, what each may do, and whether the store was left as it was."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.adapters.discord.places import PLATFORM
from bot.chat.authority import Rank
from bot.chat.settings_table import ACCESS, DENY, GROUP, LIMIT, OPERATOR, USER
from store import ON, AuditEntry
from tests.adapters.discord.interactive import InteractiveBot, interactive, key_of
from tests.fakes.discord import Channel, Guild, Interaction, Message, User

LOG = "audit"
"""The table that a refused try may leave its mark in: it is written down."""
IN_TIME = timedelta(seconds=3)
"""How long Discord waits for an acknowledgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody, by what they are: `rank` in the server, `direct` in direct messages; None for a bot."""

    name: str
    rank: Rank | None
    direct: Rank | None = Rank.PERSON

    def may(self, needs: Rank, *, direct: bool = False) -> bool:
        """Tell whether they may do what needs a rank, in the server or in direct messages."""
        rank = self.direct if direct else self.rank
        return rank is not None and rank >= needs


PEOPLE = (
    Person(name="host", rank=Rank.HOST, direct=Rank.HOST),
    Person(name="owner", rank=Rank.OPERATOR),
    Person(name="operator by role", rank=Rank.OPERATOR),
    Person(name="member", rank=Rank.PERSON),
    Person(name="member with another role", rank=Rank.PERSON),
    Person(name="owner and operator elsewhere", rank=Rank.PERSON),
    Person(name="member denied by role", rank=Rank.ANYONE),
    Person(name="operator denied by name", rank=Rank.ANYONE),
    Person(name="guest", rank=Rank.ANYONE),
    Person(name="external operator", rank=Rank.ANYONE),
    Person(name="bot that is an operator", rank=None, direct=None),
)


@dataclass
class Town:
    """The bot in two servers, with everybody of `PEOPLE` in the first, where the member was answered once in `general`."""

    bot: InteractiveBot
    path: Path
    home: Guild
    elsewhere: Guild
    general: Channel
    people: dict[str, User]

    async def answered(self) -> Message:
        """Ask something as the member, and return the finished answer."""
        await self.bot.hear(await self.people["member"].say(self.general, "Question"))
        await self.bot.quiet()
        return self.bot.shown(self.general)[-1]

    async def growing(self) -> Message:
        """Ask something as the member, and return the answer that has begun with "Half", once nothing moves any more."""
        await self.bot.hear(await self.people["member"].say(self.general, "Question"))
        kept: dict[str, list[tuple[Any, ...]]] = {}
        for _ in range(5000):
            await self.bot.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.01)
            shown = self.bot.shown(self.general)[-1]
            if (
                shown.text == "Half"
                and kept == (kept := self.dump())
                and any(str(shown.id) in part for part in kept["part"])
            ):
                return shown
        raise AssertionError("the answer never began")

    async def conversation(self) -> int:
        """Return the number of the member's conversation in `general`."""
        found = await self.bot.store.find(key_of(self.general, self.people["member"]))
        assert found is not None
        return found.id

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Read all that the store keeps, except for the log of governing."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as reader:
            named = reader.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            tables = [name for (name,) in named if name != LOG]
            return {name: sorted(reader.execute(f'SELECT * FROM "{name}"'), key=repr) for name in tables}  # noqa: S608

    async def noted(self, who: User, action: str, where: Channel, *, allowed: bool) -> list[AuditEntry]:
        """List what the log of governing says of somebody's doing or trying something at a place."""
        workspace = "" if where.guild is None else str(where.guild.id)
        entries = await self.bot.store.audit_log(PLATFORM, workspace, limit=100, everything=True)
        return [
            entry for entry in entries if (entry.author_id, entry.action, entry.allowed) == (str(who.id), action, allowed)
        ]

    async def said(self, call: Interaction) -> str:
        """Wait for the answer that comes to the caller alone, and return it."""
        await self.bot.discord.until(lambda: call.replies)
        assert call.acknowledged_after is not None
        assert call.acknowledged_after < IN_TIME
        assert all(message.flags & 1 << 6 for message in call.messages)
        return call.replies[0]


@asynccontextmanager
async def town(tmp_path: Path, *steps: object) -> AsyncIterator[Town]:
    """Open the two servers; the model plays `steps` after the first answer."""
    path = tmp_path / "parley.db"
    async with interactive("Answer.", *steps, database=f"sqlite:///{path}") as bot:
        home, elsewhere = bot.guild, bot.discord.guild("Elsewhere")
        operators, cooks, rogues = (home.role(name) for name in ("operators", "cooks", "rogues"))
        theirs = elsewhere.role("operators")
        people = {person.name: bot.discord.user(person.name, bot=person.rank is None) for person in PEOPLE}
        people |= {"host": bot.olga, "owner": home.owner}
        for name, user in people.items():
            home.join(user, [operators] if "operator" in name and "elsewhere" not in name else [])
        home.join(people["member with another role"], [cooks])
        home.join(people["member denied by role"], [rogues])
        home.join(people["guest"], pending=True)
        people["external operator"].brings_bot = True
        elsewhere.owner = people["owner and operator elsewhere"]
        elsewhere.join(elsewhere.owner, [theirs])
        denied = people["operator denied by name"]
        await bot.choose(OPERATOR, ON, at=home, subject=f"{GROUP}{operators.id}")
        await bot.choose(OPERATOR, ON, at=elsewhere, subject=f"{GROUP}{theirs.id}")
        await bot.choose(ACCESS, DENY, at=home, subject=f"{GROUP}{rogues.id}")
        await bot.choose(ACCESS, DENY, at=home, subject=f"{USER}{denied.id}")
        await bot.choose(f"{LIMIT}user-turns", "50", at=home, subject=f"{USER}{denied.id}")
        await bot.discord.until(lambda: _heard_of(bot, elsewhere))
        built = Town(bot, path, home, elsewhere, home.channel("general"), people)
        await built.answered()
        yield built


def _heard_of(bot: InteractiveBot, *guilds: Guild) -> bool:
    return bot.client is not None and all(bot.client.get_guild(guild.id) for guild in guilds)
