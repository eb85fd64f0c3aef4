"""Isolation: 20,000 random events with colliding ids, and no word of one conversation in another one's.

Two platforms, three workspaces with the same ids for everything, channels, threads, direct messages and people; messages,
replies, edits, deletions, presses, and every command. Every message holds a canary of its own, and the model answers with
all canaries that it was shown. What belongs together is reckoned here, from the table of DESIGN §4, and asked of nobody.
"""

import asyncio
import io
import random
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from bot.app import Parley, Reports, build
from bot.app_governing import rules_of
from bot.chat.authority import Rank
from bot.chat.callers import MEMBER, Kind, Standing
from bot.chat.command_table import TABLE
from bot.chat.models import Models
from bot.chat.policy import key_of
from bot.chat.protocol import Address, CommandCall, CommandReply, Control, ControlCall, IncomingMessage, Limits, Place
from bot.clock import SystemClock
from bot.config import load_settings
from bot.llm.protocol import Delta, Finish, FinishReason, PromptMessage, Text, Usage
from store import ConversationKey, MessageName, Setting, open_store
from tests.fakes.surface import FakeSurface

EVENTS = 20_000
AT_ONCE = 50
PLATFORMS = ("discord", "slack")
WORKSPACES = ("1", "2", "3")
IDS = ("1", "2", "3")
CANARY = re.compile(r"c[0-9]+x")
UNKNOWN_ID = "999999999"

pytestmark = pytest.mark.anyio


class Parrot:
    """A model that says every canary that it was shown."""

    name = "parrot"

    def __init__(self) -> None:
        self.prompts: list[list[str]] = []

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        return self._stream(prompt)

    @asynccontextmanager
    async def _stream(self, prompt: Sequence[PromptMessage]) -> AsyncIterator[AsyncIterator[Delta]]:
        seen = list(dict.fromkeys(canary for message in prompt for canary in CANARY.findall(message.text)))
        self.prompts.append(seen)

        async def deltas() -> AsyncIterator[Delta]:
            yield Text(text=" ".join(["I read:", *seen]))
            yield Finish(reason=FinishReason.STOP, usage=Usage(prompt_tokens=10, completion_tokens=5), model=self.name)

        yield deltas()

    async def aclose(self) -> None:
        pass


@dataclass
class World:
    """What was said where, and whom it may reach."""

    rng: random.Random
    parley: Parley
    surfaces: dict[str, FakeSurface]
    model: Parrot
    shared: frozenset[tuple[str, str, str]]
    """The channels whose conversation is everybody's."""
    key_of_canary: dict[str, ConversationKey] = field(default_factory=dict)
    author_of_canary: dict[str, str] = field(default_factory=dict)
    took_part: defaultdict[ConversationKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    numbers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    said: list[IncomingMessage] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def place(self) -> tuple[Place, Address]:
        platform, place = self.rng.choice(PLATFORMS), self.rng.choice(list(Place))
        workspace = "" if platform == "discord" and place is Place.DIRECT else self.rng.choice(WORKSPACES)
        thread = self.rng.choice(IDS) if place is Place.THREAD else ""
        return place, Address(platform=platform, workspace=workspace, channel=self.rng.choice(IDS), thread=thread)

    def key(self, place: Place, where: Address, user: str) -> ConversationKey:
        """The table of DESIGN §4 once more, in other words."""
        parts = {"platform": where.platform, "workspace": where.workspace, "channel": where.channel}
        match place:
            case Place.THREAD:
                return ConversationKey(**parts, thread=where.thread)
            case Place.DIRECT:
                return ConversationKey(**parts)
            case Place.CHANNEL:
                everybody = (where.platform, where.workspace, where.channel) in self.shared
                return ConversationKey(**parts, user="" if everybody else user)

    def standing(self, user: str) -> Standing:
        return Standing(kind=Kind.MEMBER, owner=True) if user == "2" else MEMBER

    def message(self) -> IncomingMessage:
        place, where = self.place()
        # One person to a direct message, as platforms have it.
        user = where.channel if place is Place.DIRECT else self.rng.choice(IDS)
        channel = (where.platform, where.workspace, where.channel)
        self.numbers[channel] += 1
        number = self.numbers[channel]
        canary = f"c{len(self.key_of_canary)}x"
        key = self.key(place, where, user)
        self.key_of_canary[canary], self.author_of_canary[canary] = key, user
        self.took_part[key].add(user)
        message = IncomingMessage(
            place=place,
            address=Address(
                platform=where.platform,
                workspace=where.workspace,
                channel=where.channel,
                thread=where.thread,
                reply_to=str(number),
            ),
            event_id=f"e{number}" if where.platform == "slack" else "",
            message_id=str(number),
            position=number,
            author_id=user,
            author_name=f"user {user}",
            text=f"hello {canary}",
            sent_at=SystemClock().now(),
            standing=self.standing(user),
            addressed=True,
        )
        self.said.append(message)
        return message

    def one_of(self, text: str) -> set[str]:
        return set(CANARY.findall(text))

    async def happen(self) -> None:
        kind = self.rng.choices(("say", "command", "press", "edit", "delete"), weights=(55, 30, 5, 6, 4))[0]
        self.done[kind] += 1
        if kind == "say" or not self.said:
            await self.parley.intake.take(self.message())
        elif kind == "command":
            await self.command()
        elif kind == "press":
            await self.press()
        else:
            await self.change(kind)

    async def change(self, kind: str) -> None:
        old = self.rng.choice(self.said[-200:])
        where = old.address
        if kind == "delete":
            name = MessageName(platform=where.platform, workspace=where.workspace, channel=where.channel, id=old.message_id)
            await self.parley.intake.deleted([name])
            return
        (canary,) = self.one_of(old.text)
        await self.parley.intake.edited(_changed(old, f"changed {canary}"))

    async def press(self) -> None:
        place, where = self.place()
        user = self.rng.choice(IDS)
        said = await self.parley.presses.press(
            ControlCall(
                control=self.rng.choice(list(Control)),
                turn_id=self.rng.randint(1, max(len(self.said), 1)),
                place=place,
                address=where,
                message_id=f"press{self.rng.random()}",
                position=None,
                author_id=user,
                author_name="",
                standing=self.standing(user),
                at=SystemClock().now(),
            )
        )
        assert not self.one_of(said)

    async def command(self) -> None:
        row = self.rng.choice(list(TABLE.values()))
        place, where = self.place()
        user = where.channel if place is Place.DIRECT else self.rng.choice(IDS)
        key = self.key(place, where, user)
        name, argument = row.path, self.argument(row.name)
        self.done[name] += 1
        reply = await self.call(name, argument, place, where, user)
        shown = self.one_of(reply.text) | {canary for file in reply.files for canary in self.one_of(_plain(file.data))}
        self.done[f"{name} shows"] += bool(shown)
        for canary in shown:
            theirs = self.key_of_canary[canary]
            assert (theirs.platform, theirs.workspace) == (where.platform, where.workspace), (name, canary)
            if name == "chat export":
                assert user in self.took_part[theirs] | {theirs.user}, (name, canary)
            else:
                assert name == "chat history", (name, canary)
                assert theirs == key, (name, canary)
        if row.needs >= Rank.OPERATOR and argument.isdigit() and row.name in ("show", "forget", "restore"):
            await self.check_foreign(name, argument, reply, place, where, user)
        if name == "parley conversations":
            for number in re.findall(r"^\s*(\d+)\b", reply.text, re.MULTILINE):
                record = await self.parley.store.record(where.platform, where.workspace, int(number))
                assert record is not None or row.needs, (name, number)

    async def check_foreign(
        self, name: str, number: str, reply: CommandReply, place: Place, where: Address, user: str
    ) -> None:
        if await self.parley.store.record(where.platform, where.workspace, int(number)) is None:
            self.done["foreign"] += 1
            nothing = await self.call(name, UNKNOWN_ID, place, where, user)
            assert reply.text.replace(number, UNKNOWN_ID) == nothing.text, name

    def argument(self, name: str) -> str:
        number = str(self.rng.randint(1, 400))
        match name:
            case "show" | "restore":
                return number
            case "forget":
                return self.rng.choice((number, "", "everything") if self.rng.random() < 0.3 else (number, ""))
            case "history":
                return "50"
            case "conversations":
                return self.rng.choice(("all", "current", "ended", "expired", "1", "<@1>", "<#2>"))
            case "usage":
                return self.rng.choice(("", "user 7", "channel 7", "day 7", "user 7 csv"))
            case "pause" | "resume" | "sweep" | "channel" | "workspace" | "access" | "limits":
                return ""
            case _:
                return self.rng.choice(("", "", number))

    async def call(self, name: str, argument: str, place: Place, where: Address, user: str) -> CommandReply:
        if name in ("parley pause", "parley resume"):
            return CommandReply(text="")  # what is paused is tested elsewhere; here everything is to flow
        rules = self.parley.rules.of(where.platform, where.workspace, where.channel)
        return await self.parley.commands.handle(
            CommandCall(
                name=name,
                argument=argument,
                place=place,
                key=key_of(place, where, user, rules),
                address=where,
                author_id=user,
                author_name="",
                standing=self.standing(user),
                at=SystemClock().now(),
            )
        )

    async def quiet(self) -> None:
        while True:
            status = await self.parley.store.status()
            if not status.queued and not status.running and not self.parley.turns.running:
                return
            await asyncio.sleep(0.005)

    def check_what_was_said(self) -> None:
        """Every prompt is of one conversation, and so is all that ever stood in a place where people read."""
        for prompt in self.model.prompts:
            assert len({self.key_of_canary[canary] for canary in prompt}) <= 1
        self.model.prompts.clear()
        for platform, surface in self.surfaces.items():
            for (workspace, channel, thread), message in surface.everything():
                for text in (message.text, *message.history):
                    for canary in self.one_of(text):
                        key = self.key_of_canary[canary]
                        assert (key.platform, key.workspace, key.channel) == (platform, workspace, channel)
                        assert key.thread in ("", thread)


def _changed(message: IncomingMessage, text: str) -> IncomingMessage:
    return replace(message, text=text)


def _plain(data: bytes) -> str:
    """Read a file that is told to people, also what is packed in it."""
    if not data.startswith(b"PK"):
        return data.decode(errors="replace")
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return "\n".join(packed.read(name).decode(errors="replace") for name in packed.namelist())


async def test_nothing_of_a_conversation_ever_reaches_another() -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    clock, model = SystemClock(), Parrot()
    settings = load_settings(
        {"LLM_PROVIDER": "echo", "OPERATORS": "discord:1,slack:1/1,slack:2/1", "MAX_CONCURRENT_TURNS": "64"}, None
    )
    store = await open_store("sqlite:///:memory:")
    surfaces = {name: FakeSurface(clock, Limits(part=2000, pace=timedelta())) for name in PLATFORMS}
    rules = await rules_of(settings, store, (model.name,))
    reports = Reports(platforms=lambda: PLATFORMS, models=lambda: (model.name,), examine=_nothing_found)
    parley = build(settings, surfaces, store, rules, Models(model), clock, rng, reports)
    shared = frozenset((platform, workspace, "3") for platform in PLATFORMS for workspace in WORKSPACES)
    for platform, workspace, channel in shared:
        scope = Setting(platform=platform, workspace=workspace, channel=channel, name="scope", value="channel")
        await rules.set(scope, author_id="1", action="channel", at=clock.now())
        inline = Setting(platform=platform, workspace=workspace, name="placement", value="inline")
        await rules.set(inline, author_id="1", action="channel", at=clock.now())
    world = World(rng=rng, parley=parley, surfaces=surfaces, model=model, shared=shared)
    running = asyncio.create_task(parley.turns.run())
    try:
        for _ in range(EVENTS // AT_ONCE):
            await asyncio.gather(*(world.happen() for _ in range(AT_ONCE)))
            if rng.random() < 0.2:
                await world.quiet()
        await world.quiet()
        world.check_what_was_said()
    except BaseException as exc:
        exc.add_note(f"the seed was {seed}")
        raise
    finally:
        running.cancel()
        await asyncio.wait([running])
        await store.aclose()
    assert all(world.done[row.path] for row in TABLE.values())
    assert len(world.key_of_canary) > EVENTS / 3
    # None of this is true because nothing was shown.
    assert world.done["chat export shows"]
    assert world.done["chat history shows"]
    assert world.done["foreign"]


async def _nothing_found() -> tuple[()]:
    return ()
