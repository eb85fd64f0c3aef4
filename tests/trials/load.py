"""Five hundred events a second, nine in ten of them of one workspace, and few of them for the bot: see `crowds`.

The fake platform stands in the trial's own process; it and the bot share the machine, so the rate that was reached is told.
First the quiet workspaces are alone, then another one floods the bot beside them. Timings are told of short forms too, which
share their machine with other tests, but are held to nothing there.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tests.trials.auditing import named
from tests.trials.crowds import LATE_SECONDS, Crowd, DiscordCrowd, Question, SlackCrowd, deeds
from tests.trials.engines import SqliteFile
from tests.trials.processes import Watch, watched
from tests.trials.rigs import rig
from tests.trials.trial import Figure, Ground, Trial
from tests.trials.waiting import wait_for

RATE = 500
EVENTS, EVENTS_SHORT = 100_000, 1_500
UNDER_WAY_SHORT = 50
"""In the short form people wait while Slack has so much to deliver: on a busy machine much would be late, and come again."""
ALONE = 0.05
"""So many of them, as a share, the quiet workspaces do alone at first, at their own pace: a tenth of the rate."""
COMMIT_LOOK_SECONDS = 0.005
MEGABYTES = 300
ACK_SECONDS = 1
SHARE_OF_FLOOD = 0.05
"""A question of a quiet workspace is answered before more than so many of the flood's questions are, beside those that were
being answered when it came."""
RUNNING = 32
"""`MAX_CONCURRENT_TURNS`, as it is by default."""
CROWDS: Sequence[Callable[[], Crowd]] = (SlackCrowd, lambda: SlackCrowd(http=True), DiscordCrowd)


def run(ground: Ground) -> Sequence[Figure]:
    """Flood the bot on each platform; in the short form, on the one that the seed chooses."""
    chosen = CROWDS if ground.long else [ground.rng("crowd").choice(CROWDS)]
    figures: list[Figure] = []
    for number, make in enumerate(chosen):
        with make() as crowd:

            def told(done: int, number: int = number) -> None:
                ground.progress(number * 100 + done, 100 * len(chosen))

            figures += named(crowd.name, _flood(ground, crowd, ground.directory / str(number), told))
    return figures


def _flood(ground: Ground, crowd: Crowd, directory: Path, told: Callable[[int], None]) -> list[Figure]:
    rng, number = ground.rng(crowd.name), EVENTS if ground.long else EVENTS_SHORT
    alone = int(number * ALONE)
    crowd.most_under_way = None if ground.long else UNDER_WAY_SHORT
    store = directory / "parley.db"
    with rig(crowd, SqliteFile(store), directory, delay_ms=3) as here:
        bot = here.replica(MAX_CONCURRENT_TURNS=str(RUNNING), DRAIN_SECONDS="1")
        here.start(bot)
        crowd.listens(int(bot.logged("web.started")[-1]["port"]))
        with _commits(store) as committed, watched(bot.life.pid) as watch:
            crowd.act(deeds(alone, rng, flood=False), RATE / 10, rng, lambda done: None)
            calm = _until_answered(crowd, crowd.questions[:])
            before = crowd.events()
            rate = crowd.act(deeds(number, rng), RATE, rng, lambda done: told(100 * done // number))
            events = crowd.events() - before
            asked = crowd.questions[len(calm) :]
            quiet = _until_answered(crowd, [question for question in asked if question.workspace])
            wait_for(crowd.quiet, pause=0.5)
            wait_for(lambda: len(committed) == len(crowd.questions), pause=0.2, told=lambda: str(len(committed)))
        assert bot.stop() == 0
    kept = here.kept.ledger.texts
    flood = [question for question in asked if not question.workspace]
    waits = [committed[question.text] - question.asked for question in crowd.questions]
    return [
        Figure(name="things done", value=number),
        Figure(name="events", value=events),
        Figure(name="events a second", value=rate * events / number),
        Figure(name="questions", value=len(crowd.questions)),
        Figure(name="questions lost", value=_lost(crowd, kept), at_most=0, of=len(crowd.questions)),
        Figure(name="stored twice", value=len(kept) - len(set(kept)), at_most=0, of=len(crowd.questions)),
        *_acknowledged(crowd, waits, long=ground.long),
        *_shares(calm, quiet, flood, long=ground.long),
        *_taken(watch, events),
    ]


def _until_answered(crowd: Crowd, questions: list[Question]) -> list[Question]:
    def answered() -> bool:
        crowd.look()
        return all(question.answered is not None for question in questions)

    wait_for(answered, pause=0.2, told=lambda: str([question.text for question in questions if question.answered is None]))
    return questions


@contextmanager
def _commits(store: Path) -> Iterator[dict[str, float]]:
    """Note when each question can be read by others, so far as that is seen by looking all the time."""
    committed: dict[str, float] = {}
    over = threading.Event()

    def look() -> None:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10)) as db:
            last = 0
            while not over.wait(COMMIT_LOOK_SECONDS):
                rows = db.execute("SELECT id, text FROM message WHERE id > ? AND role = 0", (last,)).fetchall()
                now = time.monotonic()
                committed.update((text, now) for _, text in rows)
                last = rows[-1][0] if rows else last

    thread = threading.Thread(target=look, name="commits")
    thread.start()
    try:
        yield committed
    finally:
        over.set()
        thread.join()


def _lost(crowd: Crowd, kept: Sequence[str]) -> int:
    return len({question.text for question in crowd.questions} - set(kept))


def _acknowledged(crowd: Crowd, waits: Sequence[float], *, long: bool) -> list[Figure]:
    """Tell how long the platform waits; Discord is told nothing, and there it counts until the question is stored."""
    acknowledged = crowd.acknowledged()
    what, took = ("acknowledged", acknowledged) if acknowledged else ("stored", list(waits))
    late = sum(one >= LATE_SECONDS for one in took)
    figures = [
        Figure(name=f"{what} after, median", value=_part(took, 50), unit="s"),
        Figure(name=f"{what} after, p99", value=_part(took, 99), unit="s", at_most=ACK_SECONDS if long else None),
    ]
    if acknowledged:
        figures.append(Figure(name="not acknowledged within 3 s", value=late, of=len(took)))
        figures.append(Figure(name="question stored after, p99", value=_part(waits, 99), unit="s"))
    return figures


def _shares(calm: list[Question], quiet: list[Question], flood: list[Question], *, long: bool) -> list[Figure]:
    """Tell what the quiet workspaces feel of the flood."""
    answers = [question.answered for question in flood if question.answered is not None]
    overtaken = [sum(question.asked < at < (question.answered or at) for at in answers) - RUNNING for question in quiet]
    share = max(0, *overtaken) / max(1, len(flood))
    return [
        Figure(
            name="a quiet workspace waits, median, without the flood",
            value=_part([one.waited for one in calm], 50),
            unit="s",
        ),
        Figure(name="the same, with it", value=_part([one.waited for one in quiet], 50), unit="s"),
        Figure(name="the same, p95", value=_part([one.waited for one in quiet], 95), unit="s"),
        Figure(name="questions of the flood", value=len(flood)),
        Figure(name="of them answered so far", value=len(answers)),
        Figure(
            name="of them answered before one of a quiet workspace, at most",
            value=100 * share,
            unit="%",
            at_most=100 * SHARE_OF_FLOOD,
        ),
    ]


def _taken(watch: Watch, events: int) -> list[Figure]:
    return [
        Figure(name="memory, most", value=watch.most_megabytes, unit="MB", at_most=MEGABYTES),
        Figure(name="processor time an event, answers included", value=1000 * watch.processor_seconds / events, unit="ms"),
    ]


def _part(numbers: Sequence[float], percent: int) -> float:
    """Return the number below which so many hundredths of them are."""
    return sorted(numbers)[min(len(numbers) - 1, len(numbers) * percent // 100)]


TRIAL = Trial(
    number=12,
    name="load",
    what="Five hundred events come a second, nine in ten of them of one workspace, few of them for the bot.",
    run=run,
)
