"""Kill -9 at any moment of a turn, start again: the message is there once, the answer comes once, no half turn stays."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.trial import DELIVERING, NOT_TAKEN, STREAMING, Trial, answer_to, table
from tests.e2e.zygote import Zygote, zygote

pytestmark = pytest.mark.trial

PARKED = "I fail at this message each time, so I have set it aside; please say it differently.\n"


@pytest.fixture(scope="module")
def lives(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    home = tmp_path_factory.mktemp("home")
    with zygote(model.env | {"HOME": str(home)}, stderr=home / "stderr") as helper:
        yield helper


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    given: int | None = request.config.getoption("--trial-seed")
    return time.time_ns() % 10**9 if given is None else given


def test_a_kill_at_any_moment_loses_nothing_and_answers_nothing_twice(
    model: Model,
    tmp_path: Path,
    seed: int,
    request: pytest.FixtureRequest,
    report: Callable[[str], None],
) -> None:
    kills: int = request.config.getoption("--trial-kills")
    asked_before = len(model.prompts())
    with ExitStack() as stack:
        trials = []
        for name in "ab":  # two at once: a life mostly waits for its model
            (home := tmp_path / name).mkdir()
            helper = stack.enter_context(zygote(model.env | {"HOME": str(home)}, stderr=tmp_path / f"stderr-{name}"))
            trials.append(Trial(name, helper, home, seed))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda trial: trial.run(kills // 2), trials))
    prompts = model.prompts()[asked_before:]
    report(table(trials, calls=len(prompts), seed=seed))

    calls = Counter(prompt[-1]["content"] for prompt in prompts)
    for trial in trials:
        assert trial.ledger.texts == trial.said
        assert trial.orphans == []
        for said in trial.ledger.said:  # a crash costs one call at most
            turn = trial.ledger.turn_of(said.text)
            assert turn is not None
            assert calls[said.text] <= turn.attempts <= 3
    assert calls.total() <= sum(len(trial.ledger.turns) for trial in trials) + kills
    for _system, *spoken in prompts:  # what the model was shown never held a half turn
        answers = [message["content"] for message in spoken if message["role"] == "assistant"]
        questions = [message["content"] for message in spoken if message["role"] == "user"]
        assert [answer_to(question) for question in questions[:-1]] == answers
    if kills >= 200:  # fewer may miss one by chance
        phases = {phase for trial in trials for phase in trial.phases}
        assert {NOT_TAKEN, STREAMING, DELIVERING} <= phases
        assert len(phases) >= 4


def test_a_kill_while_the_store_is_made_leaves_no_half_store(lives: Zygote, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(10):
        home = tmp_path / str(number)
        home.mkdir()
        life = lives.start(home, "chat")
        life.say("hello")
        life.read_for(rng.uniform(0, 0.2))
        life.kill()
        taken = len(read_ledger(home / "parley.db").said)

        life = lives.start(home, "chat")
        if not taken:
            life.say("hello")
        assert life.ended() == 0, f"seed {seed}"
        ledger = read_ledger(home / "parley.db")
        assert [said.answers for said in ledger.said] == [((answer_to("hello"), "complete"),)], f"seed {seed}"
        assert sorted(path.name for path in home.iterdir()) == ["parley.db", "parley.db.lock"]


def kill_in_the_middle(lives: Zygote, directory: Path, *lines: str) -> None:
    """Begin a life, and end it as soon as it has shown the beginning of an answer."""
    life = lives.start(directory, "chat")
    life.say(*lines)
    assert life.read_until(lambda life: bool(life.output))
    assert life.kill()


def test_two_kills_do_not_set_an_innocent_message_aside(lives: Zygote, model: Model, tmp_path: Path) -> None:
    model.plan({"say": ["Hel", "lo"], "then": "stall", "times": 2})
    kill_in_the_middle(lives, tmp_path, "are you there?")
    kill_in_the_middle(lives, tmp_path)

    life = lives.start(tmp_path, "chat")
    assert life.ended() == 0
    assert life.text == answer_to("are you there?\n")


def test_three_kills_set_a_message_aside_which_is_told_once_and_the_next_is_answered(
    lives: Zygote, model: Model, tmp_path: Path
) -> None:
    model.plan({"say": ["Hel", "lo"], "then": "stall", "times": 3})
    kill_in_the_middle(lives, tmp_path, "the poison")
    kill_in_the_middle(lives, tmp_path)
    kill_in_the_middle(lives, tmp_path)

    life = lives.start(tmp_path, "chat")
    life.say("and now?")
    assert life.ended() == 0
    assert life.text == PARKED + answer_to("and now?\n")
    life = lives.start(tmp_path, "chat")
    assert life.ended() == 0
    assert life.text == ""
    ledger = read_ledger(tmp_path / "parley.db")
    assert [turn.state for turn in ledger.turns] == ["parked", "done"]
    assert ledger.texts == ["the poison", "and now?"]
    assert ledger.said[0].answers == ()
