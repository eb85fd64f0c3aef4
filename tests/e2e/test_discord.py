"""The real `parley run` on Discord, a process that can be killed: what people see there stays whole, once and in order."""

import os
import random
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.zygote import Life, Zygote
from tests.fakes.discord import FakeDiscordThread

WITHIN = timedelta(seconds=30)
"""How long something is waited for that must come; only a failing test waits that long."""


class Bot:
    """`parley run` with its store, which lives on when the process ends."""

    def __init__(self, helper: Zygote, directory: Path, env: dict[str, str]) -> None:
        self._helper = helper
        self._directory = directory
        self._env = env
        self.life: Life | None = None

    @property
    def store(self) -> Path:
        return self._directory / "parley.db"

    @property
    def errors(self) -> str:
        return (self._directory / "stderr").read_text()

    def start(self, **env: str) -> Life:
        self.life = self._helper.start(self._directory, "run", stderr=self._directory / "stderr", env={**self._env, **env})
        return self.life

    def kill(self) -> None:
        assert self.life is not None
        self.life.kill()

    def stop(self) -> int:
        assert self.life is not None
        os.kill(self.life.pid, signal.SIGTERM)
        return self.life.ended()


@pytest.fixture
def discord() -> Iterator[FakeDiscordThread]:
    with FakeDiscordThread() as fake:
        yield fake


@pytest.fixture
def bot(helper: Zygote, tmp_path: Path, model: Model, discord: FakeDiscordThread) -> Iterator[Bot]:
    (home := tmp_path / "home").mkdir()
    env = {
        **model.env,
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_BASE_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
        "HTTP_PORT": "0",
        "LOG_LEVEL": "INFO",
    }
    running = Bot(helper, home, env)
    yield running
    if running.life is not None and not running.life._ended:
        running.kill()


def connected(discord: FakeDiscordThread, times: int = 1) -> None:
    """Wait until the bot has connected so many times in all."""
    discord.until(lambda: len(discord.identifies) >= times and discord.gateway.connected, within=WITHIN)


def test_a_mention_is_answered_by_a_reply_that_notifies_the_asker_once(bot: Bot, discord: FakeDiscordThread) -> None:
    general, ada = discord.guild("Home").channel("general"), discord.user("Ada")
    bot.start()
    connected(discord)
    question = discord.do(ada.say, general, f"{discord.bot.mention} are you there?")
    discord.until(lambda: general.texts[-1] == "You asked: are you there?", within=WITHIN)
    answer = general.messages[-1]
    assert answer.reference is not None
    assert [(message.id, user.name) for message, user in discord.pings] == [(answer.id, "Ada")]
    discord.until(lambda: "Regenerate" in general.messages[-1].labels, within=WITHIN)
    assert bot.stop() == 0
    assert [(said.text, said.answers) for said in read_ledger(bot.store).said] == [
        ("are you there?", (("You asked: are you there?", "complete"),))
    ]
    assert question.id


def test_a_kill_in_the_middle_of_an_answer_and_a_restart_complete_the_same_message_once(
    bot: Bot, discord: FakeDiscordThread, model: Model
) -> None:
    general, ada = discord.guild("Home").channel("general"), discord.user("Ada")
    bot.start()
    connected(discord)
    model.plan({"say": ["Once", " upon"], "then": "stall"})
    discord.do(ada.say, general, f"{discord.bot.mention} tell me a story")
    discord.until(lambda: general.texts[-1].startswith("Once"), within=WITHIN)
    begun = general.messages[-1]
    bot.kill()

    bot.start()
    discord.until(lambda: general.texts[-1] == "You asked: tell me a story", within=WITHIN)
    assert general.messages[-1].id == begun.id
    assert len(general.messages) == 2
    assert bot.stop() == 0
    assert read_ledger(bot.store).open == []


def test_what_is_said_between_two_lives_is_answered_once_by_the_next(
    bot: Bot, discord: FakeDiscordThread, model: Model
) -> None:
    home = discord.guild("Home")
    general, ada, bob = home.channel("general"), discord.user("Ada"), discord.user("Bob")
    dm = discord.dm(bob)
    discord.do(ada.say, general, f"{discord.bot.mention} before I was born")
    bot.start()
    connected(discord)
    discord.do(ada.say, general, f"{discord.bot.mention} one")
    discord.do(bob.say, dm, "eins")
    discord.until(lambda: general.texts[-1] == "You asked: one" and dm.texts[-1] == "You asked: eins", within=WITHIN)
    assert bot.stop() == 0
    discord.do(ada.say, general, f"{discord.bot.mention} two")
    discord.do(bob.say, dm, "zwei")

    bot.start()
    discord.until(lambda: general.texts[-1] == "You asked: two" and dm.texts[-1] == "You asked: zwei", within=WITHIN)
    assert "before I was born" not in str(model.prompts()), "a fresh install replays nothing, its second start neither"
    assert bot.stop() == 0
    answers = [text for text in general.texts + dm.texts if text.startswith("You asked")]
    assert answers == ["You asked: one", "You asked: two", "You asked: eins", "You asked: zwei"]


def test_kills_at_random_moments_lose_nothing_and_answer_nothing_twice(
    bot: Bot, discord: FakeDiscordThread, request: pytest.FixtureRequest
) -> None:
    given: int | None = request.config.getoption("--trial-seed")
    seed = random.randrange(10**9) if given is None else given
    rng = random.Random(seed)
    general, ada = discord.guild("Home").channel("general"), discord.user("Ada")
    bot.start()
    connected(discord)
    for number in range(8):
        discord.do(ada.say, general, f"{discord.bot.mention} question {number}")
        assert bot.life is not None
        bot.life.read_for(rng.uniform(0, 0.4))
        bot.kill()
        bot.start()
    wanted = [f"You asked: question {number}" for number in range(8)]

    def answered() -> bool:
        answers = [text for text in general.texts if not text.startswith("<@")]
        return all(any(text in answer for answer in answers) for text in wanted[-1:]) and answers != []

    discord.until(answered, within=WITHIN)
    assert bot.stop() == 0
    ledger = read_ledger(bot.store)
    assert [said.text for said in ledger.said] == [f"question {number}" for number in range(8)], f"seed {seed}"
    assert ledger.open == [], f"seed {seed}"
    answers = [message for message in general.messages if message.author.id == discord.bot.id]
    assert len({message.text for message in answers}) == len(answers), f"seed {seed}: answered twice"
    kept = [text for said in ledger.said for text, _ in said.answers]
    assert sorted(message.text for message in answers) == sorted(kept), f"seed {seed}"


def test_a_wrong_token_ends_with_78_and_says_where_to_get_another(bot: Bot) -> None:
    assert bot.start(DISCORD_TOKEN="wrong.token.here").ended() == 78
    assert "Reset Token" in bot.errors
    assert "wrong.token.here" not in bot.errors
    assert "Traceback" not in bot.errors


def test_an_intent_that_is_not_granted_ends_with_78_and_names_it(bot: Bot, discord: FakeDiscordThread) -> None:
    discord.message_content = False
    assert bot.start().ended() == 78
    assert "Message Content Intent" in bot.errors
    assert "Traceback" not in bot.errors
