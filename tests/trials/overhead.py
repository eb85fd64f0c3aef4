"""What Parley itself adds to a turn: from the moment a message is said to the last write of its answer, without the model.

The model tells when a question came to it and when the last byte of its answer left; Slack notes when a call arrives, and
answers at once. Every place is a workspace of its own, so that nobody waits for a pace: an answer is one post, when its text
comes, and one edit, when the model has come to its end, and a workspace has far more of both in a minute. Half of the places
are threads of a channel, the others direct messages. There are more of them than streams, so that there is always somebody
who has an answer.

Timings are those of an idle machine: short forms share theirs, and are held to nothing there.
"""

import itertools
import time
from collections.abc import Sequence

from tests.trials.engines import SqliteFile
from tests.trials.processes import watched
from tests.trials.rigs import rig
from tests.trials.stage_slack import SlackStage
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for

STREAMS, TURNS_A_SECOND, TURNS = 200, 50, 3_000
STREAMS_SHORT, TURNS_A_SECOND_SHORT, TURNS_SHORT = 10, 10, 60
SPARE = 1.5
"""So many places for each stream."""
WARM_UP = 0.4
"""So many of the turns, as a share, are not counted: the first in each workspace ask Slack who is there."""
MILLISECONDS = 50
THINKS = 0.5
"""The share of its time after which the model says something; at the end of the rest it says that this was all."""


def run(ground: Ground) -> Sequence[Figure]:
    """Let everybody ask in turn, at an even pace."""
    streams, rate, turns = (
        (STREAMS, TURNS_A_SECOND, TURNS) if ground.long else (STREAMS_SHORT, TURNS_A_SECOND_SHORT, TURNS_SHORT)
    )
    directory = ground.directory / "rig"
    kept = SqliteFile(directory / "parley.db")
    with SlackStage(int(SPARE * streams), together=1) as stage, rig(stage, kept, directory) as here:
        here.model.plan(_answer(streams / rate, turns))
        bot = here.bot(MAX_CONCURRENT_TURNS=str(2 * streams))
        life = bot.start()
        stage.until(stage.heard)
        with watched(life.pid) as watch:
            reached = _ask(ground, stage, rate, turns)
            wait_for(lambda: len(stage.moments()) == turns, pause=0.5, told=lambda: f"{len(stage.moments())} of {turns}")
        calls = here.model.calls()
        assert bot.stop() == 0
        took = {call["body"]["messages"][-1]["content"]: call["ended"] - call["began"] for call in calls}
        at_once = max(len(call["alongside"]) for call in calls) + 1
        counted = sorted(stage.moments(), key=lambda moment: moment[1])[int(turns * WARM_UP) :]
    ours = sorted(1000 * (shown - said - took[text]) for text, said, shown in counted)
    refused = stage.refused()
    return [
        Figure(name="turns", value=len(counted)),
        Figure(name="turns a second", value=reached, at_least=0.95 * rate if ground.long else None),
        Figure(name="streams at once, most", value=at_once, at_least=streams if ground.long else None),
        Figure(name="model's time, median", value=sorted(took.values())[len(took) // 2], unit="s"),
        Figure(name="our own time, median", value=ours[len(ours) // 2], unit="ms"),
        Figure(
            name="our own time, p95",
            value=ours[len(ours) * 95 // 100],
            unit="ms",
            at_most=MILLISECONDS if ground.long else None,
        ),
        Figure(name="our own time, most", value=ours[-1], unit="ms"),
        Figure(name="processor time a turn", value=1000 * watch.processor_seconds / turns, unit="ms"),
        Figure(name="of a processor, what other machines took", value=100 * watch.stolen_share, unit="%"),
        Figure(name="refused by a rate limit", value=refused, at_most=0, of=turns),
        Figure(name="model calls beyond one a turn", value=len(calls) - turns, at_most=0, of=turns),
        Figure(name="memory, most", value=watch.most_megabytes, unit="MB", at_most=300),
    ]


def _answer(seconds: float, times: int) -> dict[str, object]:
    """Plan an answer that takes so long: a beginning, the text, and its end."""
    text, end = 1000 * seconds * THINKS, 1000 * seconds * (1 - THINKS)
    return {"say": ["Let me see."], "pauses_ms": [0, text, end], "times": times}


def _ask(ground: Ground, stage: SlackStage, rate: float, turns: int) -> float:
    """Let those ask who have their answer, and return how many questions there were in a second."""
    began, places = time.monotonic(), itertools.cycle(range(stage.places))
    for number in range(turns):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        place = next(place for place in places if stage.finished(place))
        stage.say(place, f"p{place}-{number} how long will it take?")
        ground.progress(number, turns)
    return turns / (time.monotonic() - began)


TRIAL = Trial(
    number=12,
    name="overhead",
    what="Two hundred answers stream at once, 50 turns a second: what Parley adds to the time of the model.",
    run=run,
)
