"""Writes whose reply is lost: the platform did what it was asked, and nobody is told; or it never heard of it.

Each answer loses one call, or two in a row of the same kind: the post of its first part or of its second one, an edit, and
in Slack's streams the start, the growth and the end. Its connection is cut behind the call or before it, or a 502 comes
instead of the reply. What people see in the end is each answer once, from its first word to its last.
"""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.fakes.model_server import Exchange, ModelServer, say
from tests.fakes.threaded import FakeInThread
from tests.trials.auditing import named
from tests.trials.engines import SqliteFile
from tests.trials.rigs import bots_in, model_env
from tests.trials.scenes import PLATFORMS, Scene, play_all
from tests.trials.stage_discord import DiscordStage
from tests.trials.stage_slack import SlackStage
from tests.trials.stages import Call, Stage, Way
from tests.trials.trial import Figure, Ground, Trial

AT_LENGTH = 7_000
"""Characters of a long answer: more than two messages of either platform."""
SLOWLY_SECONDS = 0.2
"""The pause between the words of a slow answer, which is edited or grows a few times."""
PATIENCE_SECONDS = 120
LONG, SLOWLY, BRIEFLY = "at length", "slowly", "briefly"
END = "end"
POSTS, STREAMS = (Call.FIRST, Call.OVERFLOW, Call.EDIT), (Call.START, Call.APPEND, Call.STOP)
TOGETHER = 2
"""Places of a workspace of Slack, in turn a thread of a channel and one of direct messages, where answers are streamed."""
_ASKED = re.compile(f"(p[0-9]+-1) tell me ({LONG}|{SLOWLY}|{BRIEFLY})")
_HOW = {Call.FIRST: BRIEFLY, Call.OVERFLOW: LONG}
"""What is asked for, so that there is such a call; for the others an answer that takes a while."""


def run(ground: Ground) -> Sequence[Figure]:
    """Lose calls on both platforms at once."""
    losses = 200 if ground.long else 12
    return play_all(ground, [Losses(ground, platform, losses) for platform in PLATFORMS])


class Losses(Scene):
    """One platform, with one answer in each place of it, which are the steps."""

    def __init__(self, ground: Ground, platform: str, losses: int) -> None:
        super().__init__(ground, platform, SqliteFile.name)
        self.steps = losses
        self._rng = ground.rng("lost", platform)

    def play(self) -> list[Figure]:
        """Ask in every place for an answer of which one call is lost, and see what people have of it."""
        with self._stage() as stage, FakeInThread(ModelServer()) as model, bots_in(self.directory) as make:
            kept = SqliteFile(self.directory / "parley.db")
            asyncio.run(stage.prepare(kept.url))
            model.always(tell)
            bot = make("bot", {**stage.env, **model_env(model), "DATABASE_URL": kept.url})
            bot.start()
            stage.until(stage.heard)
            kinds = self._ask(stage)
            missing = self._wait(stage)
            assert bot.stop() == 0
            assert "Traceback" not in bot.errors, bot.errors
            turns, calls, lost = kept.ledger.turns, len(model.requests), stage.losses()
            shown = {place: _bare("".join(stage.shown(place))) for place in kinds}
            told = {place: _bare(answer_to(stage.said(place)[0])) for place in kinds}
        twice = [kinds[place] for place in kinds if len(shown[place]) > len(told[place])]
        torn = [kinds[place] for place in kinds if shown[place] != told[place] and len(shown[place]) <= len(told[place])]
        figures = [
            *(Figure(name=f"lost: {call}", value=number) for call, number in _calls(kinds.values()).items()),
            Figure(name="calls lost", value=lost, at_least=self.steps),
            Figure(name="messages shown twice", value=len(twice), at_most=0, of=self.steps, seen=tuple(twice)),
            Figure(name="answers not whole", value=len(torn), at_most=0, of=self.steps, seen=tuple(torn)),
            Figure(name="answers that never came", value=len(missing), at_most=0, of=self.steps, seen=tuple(missing)),
            Figure(name="turns not done", value=sum(turn.state != "done" for turn in turns), at_most=0, of=len(turns)),
            Figure(name="model calls beyond one a turn", value=calls - len(turns), at_most=0, of=len(turns)),
        ]
        return named(self.platform, figures)

    def _stage(self) -> Stage:
        if self.platform == DiscordStage.name:
            return DiscordStage(self.steps, shards=1)
        return SlackStage(self.steps, together=TOGETHER, threads=True)

    def _ask(self, stage: Stage) -> dict[int, str]:
        """Ask everywhere, and return what is lost in each place."""
        posts, streams = (itertools.cycle(itertools.product(Way, calls)) for calls in (POSTS, STREAMS))
        kinds = {}
        for place in range(stage.places):
            way, call = next(streams if self.platform == SlackStage.name and place % 2 else posts)
            stage.lose(place, call, way, times=self._rng.choice((1, 1, 1, 2)))
            kinds[place] = f"{call.value}, {way.value}"
            stage.say(place, f"p{place}-1 tell me {_HOW.get(call, SLOWLY)}")
        return kinds

    def _wait(self, stage: Stage) -> list[str]:
        """Wait until the last word of every answer is there, and return those of which it never is."""
        limit = time.monotonic() + (PATIENCE_SECONDS if self.steps < 100 else 10 * PATIENCE_SECONDS)
        while True:
            missing = [place for place in range(stage.places) if not _has_ended(stage, place)]
            self.done = stage.places - len(missing)
            if not missing or time.monotonic() > limit:
                return [f"p{place}-1: {stage.shown(place)}"[:200] for place in missing]
            time.sleep(0.2)


async def tell(exchange: Exchange) -> None:
    """Answer as the question asks for."""
    asked = _ASKED.search(exchange.question)
    assert asked is not None
    pieces = re.findall(r"\S+\s*", answer_to(asked[0]))
    await say(*pieces, pause=SLOWLY_SECONDS if asked[2] == SLOWLY else 0.001)(exchange)


def answer_to(question: str) -> str:
    """Write words of which no two are the same: a handful, or as many as make it long."""
    asked = _ASKED.search(question)
    assert asked is not None
    words = AT_LENGTH // 8 if asked[2] == LONG else 8
    return " ".join([asked[1], *(f"w{number:05}" for number in range(words)), END])


def _has_ended(stage: Stage, place: int) -> bool:
    return any(text.endswith(END) for text in stage.shown(place))


def _calls(kinds: Iterable[str]) -> Counter[str]:
    return Counter(kind.partition(",")[0] for kind in kinds)


def _bare(text: str) -> str:
    """Leave out the white space, which goes where an answer is cut."""
    return "".join(text.split())


TRIAL = Trial(
    number=2,
    name="lost_responses",
    what="A write is done and its reply is lost, or it is lost before it is done: posts, edits and streams.",
    run=run,
)
