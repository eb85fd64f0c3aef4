"""The real `parley run` on Slack, a process that can be killed: what people see there stays whole, once and in order."""

import os
import random
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.ledger import read_ledger
from tests.e2e.servers import Model
from tests.e2e.zygote import Life, Zygote
from tests.fakes.slack import Channel, FakeSlackThread

WITHIN = timedelta(seconds=30)
"""How long something is waited for that must come; only a failing test waits that long."""
SOON = [timedelta(seconds=1)] * 5


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
def slack() -> Iterator[FakeSlackThread]:
    with FakeSlackThread(retry_after=SOON) as fake:
        yield fake


@pytest.fixture
def bot(helper: Zygote, tmp_path: Path, model: Model, slack: FakeSlackThread) -> Iterator[Bot]:
    (home := tmp_path / "home").mkdir()
    env = {
        **model.env,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "SLACK_API_BASE_URL": slack.api_url,
        "HTTP_PORT": "0",
        "LOG_LEVEL": "INFO",
    }
    running = Bot(helper, home, env)
    yield running
    if running.life is not None and not running.life._ended:
        running.kill()


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


def test_kills_at_random_moments_lose_nothing_and_answer_nothing_twice(
    bot: Bot, slack: FakeSlackThread, request: pytest.FixtureRequest
) -> None:
    given: int | None = request.config.getoption("--trial-seed")
    seed = random.randrange(10**9) if given is None else given
    rng = random.Random(seed)
    home = slack.workspace
    ada = slack.do(home.user, "Ada")
    general = slack.do(home.channel, "general", ada)
    bot.start()
    connected(slack)
    for number in range(6):
        slack.do(ada.say, general, f"{home.bot.mention} question {number}")
        assert bot.life is not None
        bot.life.read_for(rng.uniform(0, 0.4))
        bot.kill()
        bot.start()

    def answered() -> bool:
        shown = answers(slack, general)
        return all(any(f"You asked: question {number}" in text for text in shown) for number in range(6))

    slack.until(answered, within=WITHIN)
    slack.until(lambda: slack.quiet, within=WITHIN)
    assert bot.stop() == 0
    ledger = read_ledger(bot.store)
    assert sorted(said.text for said in ledger.said) == [f"question {number}" for number in range(6)], f"seed {seed}"
    assert ledger.open == [], f"seed {seed}"
    assert len(answers(slack, general)) == 6, f"seed {seed}: answered twice"


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
