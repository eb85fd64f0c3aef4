"""The real `parley run` on Slack, a process that can be killed: what people see there stays whole, once and in order."""

import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.bots import PLACES, SHARE, WITHIN, Bot, bot_in, kill_at_random, kill_report, settled
from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.zygote import Zygote
from tests.fakes.slack import Channel, FakeSlackThread


@pytest.fixture
def bot(helper: Zygote, tmp_path: Path, model: Model, slack: FakeSlackThread) -> Iterator[Bot]:
    env = {
        **model.env,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "SLACK_API_BASE_URL": slack.api_url,
    }
    with bot_in(helper, tmp_path / "home", env) as running:
        yield running


def connected(slack: FakeSlackThread) -> None:
    slack.until(lambda: slack.sockets, within=WITHIN)


def away(slack: FakeSlackThread) -> None:
    """Wait until Slack has seen that the bot's process is gone."""
    slack.until(lambda: not slack.sockets, within=WITHIN)


def answers(slack: FakeSlackThread, *channels: Channel) -> list[str]:
    """What the bot shows in these channels now."""
    us = slack.workspace.bot.id
    return [message.shown for channel in channels for message in channel.messages if message.author.id == us]


def test_a_mention_is_answered_once_in_its_thread(bot: Bot, slack: FakeSlackThread) -> None:
    home = slack.workspace
    ada = slack.do(home.user, "Ada")
    general = slack.do(home.channel, "general", ada)
    bot.start()
    connected(slack)
    slack.copies = 3
    question = slack.do(ada.say, general, f"{home.bot.mention} are you there?")
    slack.until(lambda: [text for text in answers(slack, general) if "You asked: are you there?" in text], within=WITHIN)
    slack.until(lambda: slack.quiet, within=WITHIN)
    assert len(answers(slack, general)) == 1
    assert general.messages[-1].thread_ts == question.ts
    assert bot.stop() == 0
    assert [(said.text, said.answers) for said in read_ledger(bot.store).said] == [
        ("are you there?", (("You asked: are you there?", "complete"),))
    ]
    assert "Traceback" not in bot.errors


@pytest.mark.parametrize("place", ["thread", "direct"])
def test_a_kill_in_the_middle_of_an_answer_and_a_restart_complete_the_same_message_once(
    bot: Bot, slack: FakeSlackThread, model: Model, place: str
) -> None:
    home = slack.workspace
    ada = slack.do(home.user, "Ada")
    general = slack.do(home.channel, "general", ada) if place == "thread" else slack.do(home.dm, ada)
    bot.start()
    connected(slack)
    model.plan({"say": ["Once", " upon"], "then": "stall"})
    slack.do(ada.say, general, f"{home.bot.mention} tell me a story")
    slack.until(lambda: any(text.startswith("Once") for text in answers(slack, general)), within=WITHIN)
    begun = general.messages[-1]
    bot.kill()

    bot.start()
    slack.until(lambda: "You asked: tell me a story" in answers(slack, general)[-1], within=WITHIN)
    assert general.messages[-1].ts == begun.ts
    assert len(answers(slack, general)) == 1
    assert bot.stop() == 0
    assert read_ledger(bot.store).open == []


def test_what_is_said_between_two_lives_is_answered_once_by_the_next(bot: Bot, slack: FakeSlackThread) -> None:
    home = slack.workspace
    ada, bob = slack.do(home.user, "Ada"), slack.do(home.user, "Bob")
    general, dm = slack.do(home.channel, "general", ada), slack.do(home.dm, bob)
    slack.do(ada.say, general, f"{home.bot.mention} before I was born", heard=False)
    bot.start()
    connected(slack)
    root = slack.do(ada.say, general, f"{home.bot.mention} one")
    slack.do(bob.say, dm, "eins")
    slack.until(lambda: len(answers(slack, general, dm)) == 2, within=WITHIN)
    slack.until(lambda: all("You asked" in text for text in answers(slack, general, dm)), within=WITHIN)
    assert bot.stop() == 0
    away(slack)
    slack.do(ada.say, general, "two", thread=root, heard=False)
    slack.do(bob.say, dm, "zwei", heard=False)

    bot.start()
    slack.until(lambda: len(answers(slack, general, dm)) == 4, within=WITHIN)
    slack.until(lambda: all("You asked" in text for text in answers(slack, general, dm)), within=WITHIN)
    assert bot.stop() == 0
    said = [part.partition("You asked: ")[2].split()[0] for part in answers(slack, general, dm)]
    assert said == ["one", "two", "eins", "zwei"]


@pytest.mark.trial
def test_kills_at_random_moments_lose_nothing_and_answer_nothing_twice(
    bot: Bot, slack: FakeSlackThread, request: pytest.FixtureRequest, report: Callable[[str], None]
) -> None:
    given: int | None = request.config.getoption("--trial-seed")
    seed, began = random.randrange(10**9) if given is None else given, time.monotonic()
    home = slack.workspace
    people = [slack.do(home.user, f"user{number}") for number in range(PLACES)]
    channels = [slack.do(home.channel, f"channel{number}", people[number]) for number in range(PLACES)]

    def say(place: int, text: str) -> None:
        slack.do(people[place].say, channels[place], f"{home.bot.mention} {text}")

    bot.start()
    connected(slack)
    said = kill_at_random(bot, say, kills=request.config.getoption("--trial-kills") // SHARE, seed=seed)
    slack.until(lambda: settled(bot, said), within=6 * WITHIN)
    slack.until(lambda: slack.quiet, within=WITHIN)
    assert bot.stop() == 0
    shown = [text.split("\n")[0] for text in answers(slack, *channels)]
    report(kill_report("Slack", bot, said, shown, seed=seed, began=began))
    ledger = bot.ledger
    assert sorted(ledger.texts) == sorted(said)
    assert {turn.state for turn in ledger.turns} == {"done"}
    assert sorted(shown) == sorted(text for line in ledger.said for text, _ in line.answers)
    assert len(shown) == len(set(shown)) == len(said)


def test_by_http_it_is_reached_under_the_names_of_its_settings(bot: Bot, slack: FakeSlackThread) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = slack.workspace
    ada = slack.do(home.user, "Ada")
    settings = {
        "SLACK_APP_TOKEN": "",
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "HTTP_PORT": str(port),
        "HTTP_NAMES": "parley.example.com",
    }
    bot.start(**settings)
    slack.until(lambda: status_of(port, "parley.example.com") == 200, within=WITHIN)
    assert status_of(port, "other.example.com") == 421
    slack.events_url = f"http://127.0.0.1:{port}/slack/events"
    slack.do(ada.say, ada.dm, "hello")
    slack.until(lambda: [text for text in answers(slack, ada.dm) if "You asked: hello" in text], within=WITHIN)
    assert bot.stop() == 0


def status_of(port: int, name: str) -> int:
    """Ask whether it is ready, as a proxy would that passes the name on."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/readyz", headers={"Host": name})
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return 0


@pytest.mark.parametrize(
    ("name", "wrong"), [("SLACK_BOT_TOKEN", "xoxb-wrong-token"), ("SLACK_APP_TOKEN", "xapp-wrong-token")]
)
def test_a_wrong_token_ends_with_78_and_is_named(bot: Bot, name: str, wrong: str) -> None:
    assert bot.start(**{name: wrong}).ended() == 78
    assert name in bot.errors
    assert wrong not in bot.errors
    assert "Traceback" not in bot.errors
