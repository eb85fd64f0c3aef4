"""A message whose processing kills the process each time: it costs three lives and no fourth, and nobody else's answer."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence

from bot.chat.run import ATTEMPTS
from bot.chat.words import TurnError, shown
from tests.e2e.bots import Bot
from tests.e2e.ledger import Ledger
from tests.fakes.model_server import Exchange, ModelServer, chunk, data, openai_stream
from tests.fakes.threaded import FakeInThread
from tests.trials.engines import SqliteFile
from tests.trials.rigs import bots_in, model_env
from tests.trials.rooms import PLATFORMS, Room, Rooms, begin
from tests.trials.scenes import Scene, play_all
from tests.trials.trial import Figure, Ground, Trial

PARKED = shown(None, TurnError.PARKED)
OTHERS = 3
"""Who talk to the bot while it dies."""
MOST_LIVES = 10
"""After so many deaths of one message the trial gives up."""


class Killer:
    """A model that kills whoever asks it about poison, and takes its time with the others, so that they are under way."""

    def __init__(self, choose: Callable[[], int]) -> None:
        self.pid = 0
        self.kills: Counter[str] = Counter()
        self._choose = choose

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.question.startswith("poison"):
            await self._kill(exchange)
        else:
            await exchange.start()
            for event in openai_stream(*_words(f"You asked: {exchange.question}")):
                await exchange.send(event)
                await asyncio.sleep(0.07)
            await exchange.end()

    async def _kill(self, exchange: Exchange) -> None:
        """Before the head of the answer, behind it, in the middle of a word, or behind some."""
        stage = self._choose()
        if stage:
            await exchange.start()
        for word in _words("You asked something")[: stage - 1]:
            await exchange.send(data(chunk(word)))
            await asyncio.sleep(0.1)
        assert self.pid, "somebody asks before the bot was started"
        self.kills[exchange.question] += 1
        os.kill(self.pid, signal.SIGKILL)
        await exchange.client_left.wait()


def run(ground: Ground) -> Sequence[Figure]:
    """Poison every platform a few times."""
    each = 10 if ground.long else 1
    scenes = [Poisoned(ground, number, platform, each) for number, platform in enumerate(PLATFORMS)]
    play_all(ground, scenes)
    poisons, others = each * len(scenes), sum(len(scene.others) for scene in scenes)
    kills = [scene.killer.kills[poison] for scene in scenes for poison in scene.poisons]
    return [
        Figure(name="messages that kill", value=poisons, at_least=2),
        Figure(name="lives that each cost, least", value=min(kills), at_least=ATTEMPTS),
        Figure(name="lives that each cost, most", value=max(kills), at_most=ATTEMPTS),
        Figure(name="not set aside", value=sum(scene.not_parked for scene in scenes), at_most=0, of=poisons),
        Figure(name="not told exactly once", value=sum(scene.not_told_once for scene in scenes), at_most=0, of=poisons),
        Figure(name="next question there not answered", value=sum(map(_stuck, scenes)), at_most=0, of=poisons),
        Figure(name="others that run beside it not answered", value=sum(map(_lost, scenes)), at_most=0, of=others),
        Figure(name="others answered twice", value=sum(map(_twice, scenes)), at_most=0, of=others),
    ]


class Poisoned(Scene):
    """A platform, what was said and seen on it, and how many messages are poison, which are the steps."""

    def __init__(self, ground: Ground, number: int, platform: str, each: int) -> None:
        super().__init__(ground, platform, SqliteFile.name)
        self.steps = each
        self._rng = ground.rng("platform", number)
        self.killer = Killer(lambda: self._rng.randrange(4))
        self.poisons: list[str] = []
        self.others: list[str] = []
        self.after: list[str] = []
        self.not_parked = self.not_told_once = 0
        self.shown: list[str] = []

    def play(self) -> Sequence[Figure]:
        """Poison the platform; what comes of it is counted of all of them together."""
        with PLATFORMS[self.platform]() as platform, FakeInThread(ModelServer()) as model, bots_in(self.directory) as make:
            bot = make("bot", platform.env | model_env(model))
            model.always(self.killer)
            self._life = begin(bot, platform)
            self.killer.pid = self._life.pid
            others = [platform.room(f"other{number}") for number in range(OTHERS)]
            for number in range(self.steps):
                self._poison(bot, platform, number, others)
                self.done += 1
            platform.until(lambda: self._told(others) == len(self.others))
            assert bot.stop() == 0
            self._check(bot.ledger)
            self.shown += [text for room in others for text in room.shown()]
        return ()

    def _poison(self, bot: Bot, platform: Rooms, number: int, others: Sequence[Room]) -> None:
        """Let one message kill until it is set aside, while others talk; then talk on in its place."""
        room = platform.room(f"poisoned{number}")
        self.poisons.append(f"poison {number}")
        for place, other in enumerate(others):
            self.others.append(f"other {number}-{place}, told at some length")
            other.say(self.others[-1])
        room.say(self.poisons[-1])
        lives, life = 0, self._life
        while PARKED not in room.shown():
            platform.until(lambda: PARKED in room.shown() or not life.read(0.01))  # noqa: B023
            if PARKED in room.shown():
                break
            lives += 1
            assert lives <= MOST_LIVES, f"{self.poisons[-1]!r} killed {lives} lives and was not set aside"
            life.ended()
            life = self._life = bot.start()
            self.killer.pid = life.pid
        self.after.append(f"after {number}")
        room.say(self.after[-1])
        platform.until(lambda: any(self.after[-1] in text for text in room.shown()))
        self.not_told_once += sum(text == PARKED for text in room.shown()) != 1
        self.shown += room.shown()

    def _told(self, rooms: Sequence[Room]) -> int:
        """Count what has an answer, or was set aside."""
        return sum(text == PARKED or text.startswith("You asked:") for room in rooms for text in room.shown())

    def _check(self, ledger: Ledger) -> None:
        turns = [ledger.turn_of(poison) for poison in self.poisons]
        self.not_parked = sum(turn is None or turn.state != "parked" for turn in turns)


def _words(text: str) -> list[str]:
    return [f"{word} " for word in text.split()]


def _answers(scene: Poisoned, text: str) -> int:
    return sum(f"You asked: {text}" in shown for shown in scene.shown)


def _stuck(scene: Poisoned) -> int:
    return sum(_answers(scene, text) != 1 for text in scene.after)


def _lost(scene: Poisoned) -> int:
    return sum(_answers(scene, text) < 1 for text in scene.others)


def _twice(scene: Poisoned) -> int:
    return sum(_answers(scene, text) > 1 for text in scene.others)


TRIAL = Trial(
    number=14,
    name="poison",
    what="A message kills the process whenever the model is asked about it, while others are being answered.",
    run=run,
)
