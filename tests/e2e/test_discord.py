"""The real `parley run` on Discord, a process that can be killed: what people see there stays whole, once and in order."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.bots import PLACES, SHARE, WITHIN, Bot, bot_in, kill_at_random, kill_report, settled
from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.zygote import Zygote
from tests.fakes.discord import FakeDiscordThread


@pytest.fixture
def discord() -> Iterator[FakeDiscordThread]:
    with FakeDiscordThread() as fake:
        yield fake


@pytest.fixture
def bot(helper: Zygote, tmp_path: Path, model: Model, discord: FakeDiscordThread) -> Iterator[Bot]:
    env = {
        **model.env,
        "DISCORD_TOKEN": discord.token,
        "DISCORD_API_BASE_URL": discord.api_url,
        "DISCORD_GATEWAY_URL": discord.gateway_url,
    }
    with bot_in(helper, tmp_path / "home", env) as running:
        yield running


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


@pytest.mark.trial
def test_kills_at_random_moments_lose_nothing_and_answer_nothing_twice(
    bot: Bot, discord: FakeDiscordThread, request: pytest.FixtureRequest, report: Callable[[str], None]
) -> None:
    given: int | None = request.config.getoption("--trial-seed")
    seed, began = random.randrange(10**9) if given is None else given, time.monotonic()
    home = discord.guild("Home")
    people = [discord.user(f"user{number}") for number in range(PLACES)]
    channels = [home.channel(f"channel{number}") for number in range(PLACES)]

    def say(place: int, text: str) -> None:
        discord.do(people[place].say, channels[place], f"{discord.bot.mention} {text}")

    bot.start()
    connected(discord)
    said = kill_at_random(bot, say, kills=request.config.getoption("--trial-kills") // SHARE, seed=seed)
    discord.until(lambda: settled(bot, said), within=4 * WITHIN)
    assert bot.stop() == 0
    shown = [message.text for channel in channels for message in channel.messages if message.author.id == discord.bot.id]
    report(kill_report("Discord", bot, said, shown, seed=seed, began=began))
    ledger = bot.ledger
    assert sorted(ledger.texts) == sorted(said)
    assert {turn.state for turn in ledger.turns} == {"done"}
    # Questions that came before the first word of an answer share it, so there may be fewer answers than questions.
    assert sorted(shown) == sorted(text for line in ledger.said for text, _ in line.answers)
    assert len(shown) == len(set(shown)) == len(ledger.turns)


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
