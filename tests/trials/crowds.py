"""A crowd on a platform: one workspace that floods the bot and ten quiet ones, where little of what is said is for the bot.

Of what people do, `MIX` says how much is talk among themselves, an edit or a deletion of it, and a question to the bot. A
question is answered in its own thread (Slack) or as a reply (Discord).
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from tests.fakes.discord import FakeDiscordThread
from tests.fakes.slack import FakeSlackThread
from tests.fakes.threaded import FakeInThread
from tests.trials.on_platforms import OnDiscord, OnManyTeams
from tests.trials.stages import Platform

SAID, EDITED, DELETED, ASKED = "said", "edited", "deleted", "asked"
MIX = {SAID: 86, EDITED: 8, DELETED: 3, ASKED: 3}
"""In hundredths. A question is two events on Slack: the message, and that the bot was named in it."""
QUIET = 10
FLOOD = 0.9
"""The share of everything that the first workspace does; the others do the rest in equal parts."""
CHANNELS, MEMBERS = 10, 50
"""Of the workspace that floods; a quiet one has a fifth of them."""
RECENT = 200
"""Of so many messages one is edited or deleted."""
LATE_SECONDS = 3.0
"""Slack waits so long for an acknowledgement, and then delivers again."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that somebody does in a workspace; 0 is the one that floods."""

    what: str
    workspace: int


@dataclass(eq=False, slots=True)
class Question:
    """Something said to the bot; `asked` is in seconds of the monotonic clock."""

    text: str
    workspace: int
    asked: float
    message: Any
    answered: float | None = None

    @property
    def waited(self) -> float:
        """How long until people saw the first of an answer; for ever, if there is none."""
        return float("inf") if self.answered is None else self.answered - self.asked


def deeds(number: int, rng: random.Random, *, flood: bool = True) -> list[Deed]:
    """Choose what people do; without `flood` the quiet workspaces alone. Each of those asks at least one question."""
    kinds = rng.choices(list(MIX), list(MIX.values()), k=number)
    quiet = [1 + place % QUIET for place in range(number)]
    flooding = (flood and rng.random() < FLOOD for _ in range(number))
    chosen = [Deed(what, 0 if it else where) for what, where, it in zip(kinds, quiet, flooding, strict=True)]
    asking = rng.sample(range(number), QUIET)
    for workspace, place in enumerate(asking, start=1):
        chosen[place] = Deed(ASKED, workspace)
    return chosen


@dataclass
class Workspace:
    """Where people talk. `say`, `edit` and `delete` are those of the platform, `mention` names the bot."""

    mention: str
    channels: list[Any]
    people: list[Any]
    recent: deque[Any] = field(default_factory=lambda: deque(maxlen=RECENT))


class Crowd(Platform, Protocol):
    """A platform with its crowd."""

    questions: list[Question]

    def listens(self, port: int) -> None:
        """Take note that the bot runs, with its web side on this port."""

    most_under_way: int | None
    """People wait while so many deliveries are not acknowledged; None: whatever comes of it, as people do."""

    def act(self, chosen: Sequence[Deed], rate: float, rng: random.Random, told: Callable[[int], None]) -> float:
        """Let people do all this, so much a second; return the rate that was reached."""

    def look(self) -> None:
        """Note which questions have answers by now, and since when."""

    def events(self) -> int:
        """How many events were sent so far."""

    def acknowledged(self) -> list[float]:
        """For each delivery: the seconds until it was acknowledged; `LATE_SECONDS` stands for all that came too late."""


class _Talk:
    """What both platforms have in common; it stands before the platform's own class."""

    def __init__(self, fake: FakeInThread) -> None:
        super().__init__(fake)  # type: ignore[call-arg]  # the platform's own class takes it
        self.questions: list[Question] = []
        self._open: list[Question] = []
        self.workspaces: list[Workspace] = []
        self.most_under_way: int | None = None

    async def _act(self, chosen: Sequence[Deed], rate: float, rng: random.Random, told: Callable[[int], None]) -> float:
        began = time.monotonic()
        for number, deed in enumerate(chosen):
            ahead = began + number / rate - time.monotonic()
            if ahead > 0.001:
                await asyncio.sleep(ahead)
            elif number % 10 == 0:
                await asyncio.sleep(0)  # who is late still lets the platform answer
            if number % 100 == 0:
                told(number)
            while self._crowded():  # noqa: ASYNC110 - what is acknowledged is told to nobody
                await asyncio.sleep(0.005)
            await self._do(deed, rng)
        return len(chosen) / (time.monotonic() - began)

    def _crowded(self) -> bool:
        return False

    async def _do(self, deed: Deed, rng: random.Random) -> None:
        here = self.workspaces[deed.workspace]
        person, channel = rng.choice(here.people), rng.choice(here.channels)
        match deed.what:
            case "edited" if here.recent:
                message = rng.choice(here.recent)
                await message.author.edit(message, f"No, I meant {rng.randrange(10**6)} of them.")
            case "deleted" if here.recent:
                message = here.recent.popleft()
                await message.author.delete(message)
            case "asked":
                text = f"p{deed.workspace}-{len(self.questions)} what do you make of {rng.randrange(10**6)}?"
                asked = time.monotonic()
                message = await person.say(channel, f"{here.mention} {text}")
                self.questions.append(Question(text, deed.workspace, asked, message))
                self._open.append(self.questions[-1])
            case _:
                words = " ".join(f"word{rng.randrange(1000)}" for _ in range(rng.randint(3, 40)))
                here.recent.append(await person.say(channel, words))


class SlackCrowd(_Talk, OnManyTeams):
    """Slack, by Socket Mode or by HTTP."""

    def __init__(self, *, http: bool = False) -> None:
        super().__init__(FakeSlackThread())
        self._http = http
        self.name = "Slack by HTTP" if http else "Slack"
        self._acknowledged = 0
        """How many deliveries at least, from the first one on, are no more on their way."""

    def __enter__(self) -> Self:
        super().__enter__()
        for number in range(1 + QUIET):
            team = self._slack.do(self._slack.team, f"Team {number}") if number else self._slack.workspace
            share = 5 if number else 1
            people = [self._slack.do(team.user, f"person{number}x{other}") for other in range(MEMBERS // share)]
            channels = [
                self._slack.do(team.channel, f"channel{number}x{other}", *people) for other in range(CHANNELS // share)
            ]
            self.workspaces.append(Workspace(team.bot.mention, channels, people))
        return self

    @property
    def env(self) -> dict[str, str]:
        env = super().env
        if self._http:
            del env["SLACK_APP_TOKEN"]
            env["SLACK_SIGNING_SECRET"] = self._slack.signing_secret
        return env

    def listens(self, port: int) -> None:
        if self._http:
            self._slack.events_url = f"http://127.0.0.1:{port}/slack/events"

    def heard(self) -> bool:
        return self._http or super().heard()

    def _crowded(self) -> bool:
        deliveries = self._slack.deliveries
        while self._acknowledged < len(deliveries) and deliveries[self._acknowledged].done.is_set():
            self._acknowledged += 1
        return self.most_under_way is not None and len(deliveries) - self._acknowledged >= self.most_under_way

    def act(self, chosen: Sequence[Deed], rate: float, rng: random.Random, told: Callable[[int], None]) -> float:
        return float(self._slack.do(self._act, chosen, rate, rng, told, within=20 * len(chosen) / rate + 60))

    def look(self) -> None:
        shown = {
            message.thread_ts: message.posted.total_seconds()
            for question in self._open
            for message in question.message.channel.thread(question.message)
            if message.author.bot_id
        }
        for question in self._open:
            question.answered = shown.get(question.message.ts)
        self._open = [question for question in self._open if question.answered is None]

    def events(self) -> int:
        return len(self._slack.deliveries)

    def acknowledged(self) -> list[float]:
        took = [attempt.acked_after for attempt in self._slack.attempts if attempt.delivery.kind == "events_api"]
        return [LATE_SECONDS if one is None else one.total_seconds() for one in took]


class DiscordCrowd(_Talk, OnDiscord):
    """Discord with one shard."""

    def __init__(self) -> None:
        super().__init__(FakeDiscordThread(shards=1))
        self._wall = time.time() - time.monotonic()

    def __enter__(self) -> Self:
        super().__enter__()
        for number in range(1 + QUIET):
            guild, share = self._discord.do(self._discord.guild, f"Guild {number}"), 5 if number else 1
            people = [self._discord.do(self._discord.user, f"person{number}x{other}") for other in range(MEMBERS // share)]
            channels = [self._discord.do(guild.channel, f"channel{number}x{other}") for other in range(CHANNELS // share)]
            self.workspaces.append(Workspace(self._discord.bot.mention, channels, people))
        return self

    def listens(self, port: int) -> None:
        """Discord does not come to the web side."""

    def act(self, chosen: Sequence[Deed], rate: float, rng: random.Random, told: Callable[[int], None]) -> float:
        return float(self._discord.do(self._act, chosen, rate, rng, told, within=20 * len(chosen) / rate + 60))

    def look(self) -> None:
        shown = {
            message.reference.id: message.sent_at.timestamp() - self._wall
            for workspace in self.workspaces
            for channel in workspace.channels
            for message in channel.messages
            if message.author is self._discord.bot and message.reference is not None
        }
        for question in self._open:
            question.answered = shown.get(question.message.id)
        self._open = [question for question in self._open if question.answered is None]

    def events(self) -> int:
        return sum(len(session.sent) for session in self._discord.gateway.sessions.values())

    def acknowledged(self) -> list[float]:
        return []
