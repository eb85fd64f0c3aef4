"""No secret is ever seen: every secret setting is a canary, all goes wrong, and it is looked for wherever it could be.

A setting that is added later is found by its type (`tests.e2e.canaries`).
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.bots import WITHIN, Bot, bot_in
from tests.e2e.canaries import CANARIES, PASSWORD, POSTGRES, VALUES, canary, secret_settings, seen_in
from tests.e2e.servers import Model
from tests.e2e.shell import Shell
from tests.e2e.zygote import ROOT, Zygote
from tests.fakes.discord import FakeDiscordThread
from tests.fakes.slack import FakeSlackThread

SHORT = timedelta(seconds=8)

ECHOING = {
    "status": 401,
    "body": {"error": {"message": f"Incorrect API key provided: {CANARIES['LLM_API_KEY']}", "code": "invalid_api_key"}},
    "times": 1,
}
"""How OpenAI answers a wrong key: it says it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Both platforms, with canaries for their secrets, and the settings that point there."""

    discord: FakeDiscordThread
    slack: FakeSlackThread
    env: dict[str, str]

    @property
    def seen(self) -> list[tuple[str, str]]:
        """All that came to the platforms, but for the places where secrets belong: headers, and the call of OAuth."""
        return [
            *(("Discord's REST", repr((request.path, request.query, request.body))) for request in self.discord.requests),
            *(("Slack's Web API", repr({**request.body, "token": ""})) for request in self._slack_calls),
            *(("Slack's modals", repr(view)) for view in self.slack.modals),
            ("Slack's answers to interactions", repr([vars_of(done) for done in self.slack.interactions])),
        ]

    @property
    def _slack_calls(self) -> list[object]:
        return [request for request in self.slack.requests if request.method != "oauth.v2.access"]


def vars_of(done: object) -> dict[str, object]:
    return {name: getattr(done, name) for name in getattr(done, "__slots__", ()) or vars(done)}


@pytest.fixture
def world(model: Model) -> Iterator[World]:
    with FakeDiscordThread() as discord, FakeSlackThread() as slack:
        discord.token = CANARIES["DISCORD_TOKEN"]
        slack.workspace.bot_token = CANARIES["SLACK_BOT_TOKEN"]
        slack.app_token = CANARIES["SLACK_APP_TOKEN"]
        slack.signing_secret = CANARIES["SLACK_SIGNING_SECRET"]
        slack.client_secret = CANARIES["SLACK_CLIENT_SECRET"]
        env = {
            **CANARIES,
            **model.env,
            "DISCORD_API_BASE_URL": discord.api_url,
            "DISCORD_GATEWAY_URL": discord.gateway_url,
            "SLACK_API_BASE_URL": slack.api_url,
            "SLACK_CLIENT_ID": slack.client_id,
            "LOG_LEVEL": "DEBUG",
        }
        yield World(discord=discord, slack=slack, env=env)


@pytest.fixture
def bot(helper: Zygote, tmp_path: Path, world: World) -> Iterator[Bot]:
    with bot_in(helper, tmp_path / "bot", world.env) as running:
        yield running


def files_in(directory: Path) -> list[tuple[str, bytes]]:
    """Everything that was left behind, also what is packed in archives."""
    found = []
    for path in directory.rglob("*"):
        if not path.is_file():
            continue
        found.append((path.name, path.read_bytes()))
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found += [(f"{path.name}: {name}", archive.read(name)) for name in archive.namelist()]
    return found


def fetched(port: int, path: str, **headers: str) -> str:
    """What the web side answers, with its headers."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return f"{answer.status} {answer.headers}\n{answer.read().decode()}"
    except urllib.error.HTTPError as exc:
        return f"{exc.code} {exc.headers}\n{exc.read().decode()}"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_every_secret_setting_has_its_canary_and_no_two_are_one() -> None:
    assert {"DISCORD_TOKEN", "LLM_API_KEY", "HTTP_TOKEN", "ENCRYPTION_KEY", "DATABASE_URL"} <= set(secret_settings())
    assert len(set(VALUES)) == len(secret_settings())  # there are two keys, and the password is apart
    assert seen_in([("a log", f"user:{quote(PASSWORD)}")]) == ["a log"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_bot_on_both_platforms_whose_calls_fail_shows_no_secret(
    bot: Bot, world: World, model: Model, form: str, tmp_path: Path
) -> None:
    port = free_port()
    discord, slack = world.discord, world.slack
    general, ada = discord.guild("Home").channel("general"), discord.user("Ada")
    team = slack.workspace
    eve = slack.do(team.user, "Eve")
    hall = slack.do(team.channel, "hall", eve)
    life = bot.start(LOG_FORMAT=form, HTTP_PORT=str(port))
    discord.until(lambda: discord.identifies and discord.gateway.connected, within=WITHIN)
    slack.until(lambda: slack.sockets, within=WITHIN)

    model.plan(ECHOING)
    discord.do(ada.say, general, f"{discord.bot.mention} are you there?")
    discord.until(lambda: len(general.texts) > 1, within=WITHIN)
    refused = [slack.fail("chat.*", error="invalid_auth")]
    slack.do(eve.say, hall, f"{team.bot.mention} are you there?")
    slack.until(lambda: all(fault.hits for fault in refused), within=WITHIN)
    slack.do(eve.say, hall, f"{team.bot.mention} and now?")
    slack.until(lambda: "You asked: and now" in str([message.shown for message in hall.messages]), within=WITHIN)
    discord.fail("POST", "/channels/*/messages", status=500, times=2)
    discord.do(ada.say, general, f"{discord.bot.mention} again")
    for command in ("help", "history", "usage", "export"):
        slack.do(eve.slash, "/chat", command, hall)
        discord.do(ada.slash, general, "chat", command)
    web = [
        fetched(port, path, **headers)
        for path in ("/metrics", "/slack/install", "/slack/oauth_redirect?code=no&state=no", "/healthz", "/nowhere")
        for headers in ({}, {"Authorization": f"Bearer {CANARIES['HTTP_TOKEN']}"}, {"Authorization": "Bearer wrong"})
    ]
    assert any("parley_turns" in page for page in web)
    discord.until(lambda: sum("You asked" in text for text in general.texts) == 1, within=WITHIN)
    os.kill(life.pid, signal.SIGTERM)
    assert life.ended() == 0

    places = [*world.seen, *(("the web side", page) for page in web), ("stdout", life.text), *files_in(tmp_path)]
    assert seen_in(places) == []
    assert "turn.finished" in bot.errors, "there was a log to look at"


@pytest.mark.parametrize(
    ("setting", "wrong"), [("DISCORD_TOKEN", canary("wrong")), ("SLACK_BOT_TOKEN", "xoxb-1"), ("SLACK_APP_TOKEN", "xapp-1")]
)
def test_a_platform_that_takes_no_token_is_told_without_it(
    bot: Bot, world: World, setting: str, wrong: str, tmp_path: Path
) -> None:
    world.discord.token = CANARIES["DISCORD_TOKEN"] if setting != "DISCORD_TOKEN" else wrong
    env = {"SLACK_CLIENT_ID": "", "SLACK_CLIENT_SECRET": ""}  # with them, it would wait for other workspaces
    if setting == "SLACK_BOT_TOKEN":
        world.slack.workspace.bot_token = wrong
    if setting == "SLACK_APP_TOKEN":
        world.slack.app_token = wrong
    life = bot.start(**env)
    assert life.ended() == 78
    assert setting.split("_")[0].title() in bot.errors
    assert seen_in([("stdout", life.text), *world.seen, *files_in(tmp_path)]) == []


PLANTED = """
import os, sys
from base64 import b64encode
from urllib.parse import quote
from tests.e2e.canaries import NEWEST_KEY, PASSWORD, VALUES
VALUES = (*VALUES, PASSWORD) if "postgresql" in os.environ["DATABASE_URL"] else VALUES
ALL = " ".join([*VALUES, *map(quote, VALUES), *(b64encode(value.encode()).decode() for value in VALUES),
    *(value.encode().hex() for value in VALUES), NEWEST_KEY.lower(), repr(bytes.fromhex(NEWEST_KEY))])
def broken(*given, **named):
    secret = ALL
    raise RuntimeError(ALL)
"""
"""A fault of ours that has every secret in its text and in its local variables."""

IN_A_TURN = """
import bot.llm.openai
bot.llm.openai.OpenAIModel.stream = broken
"""
AT_THE_TOP = """
from bot.adapters.console import ConsoleChat
ConsoleChat.take = broken
"""
IN_A_THREAD = """
import threading
from bot.adapters.console import ConsoleChat
async def take(self, line):
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    return 0
ConsoleChat.take = take
"""
ABORTED = """
import os, signal
from bot.adapters.console import ConsoleChat
async def take(self, line):
    secret = ALL
    os.kill(os.getpid(), signal.SIGABRT)
ConsoleChat.take = take
"""
ON_OPENING = """
import bot.app_governing
bot.app_governing.open_store = broken
"""
IN_THE_COPY = """
import bot.app_copy as copies
copies.back_up = copies.restore_file = broken
"""


@pytest.mark.parametrize(
    ("planted", "arguments", "code"),
    [
        (IN_A_TURN, ["chat"], 0),
        (AT_THE_TOP, ["chat"], 1),
        (IN_A_THREAD, ["chat"], 0),
        (ABORTED, ["chat"], -signal.SIGABRT),
        (ON_OPENING, ["migrate"], 1),
        (IN_THE_COPY, ["backup", "copy.db"], 1),
    ],
    ids=["in a turn", "at the top", "in a thread", "aborted", "while migrating", "while backing up"],
)
def test_a_crash_shows_no_secret(shell: Shell, world: World, planted: str, arguments: list[str], code: int) -> None:
    faulty = "\n".join([PLANTED, planted, "from bot.__main__ import main", f"sys.argv = ['parley', *{arguments}]", "main()"])
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(shell.home), **world.env}
    if planted == ON_OPENING:
        env["DATABASE_URL"] = POSTGRES
    with (shell.home / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", faulty],
            cwd=shell.home,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdin is not None
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    if planted == IN_A_TURN:  # such a turn is tried again once its lease is over, so the process goes on
        until(lambda: "turn.crashed" in (shell.home / "stderr").read_text())
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    err = (shell.home / "stderr").read_text()
    assert process.returncode == code, err[-2000:]
    assert seen_in([("stdout", out), *files_in(shell.home)]) == [], err[:3000]
    assert "RuntimeError" in err or "Fatal Python error" in err, "there was a crash to look at"


def until(holds: Callable[[], object]) -> None:
    limit = time.monotonic() + WITHIN.total_seconds()
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.02)


COMMANDS = (
    ["chat"],
    ["doctor"],
    ["migrate"],
    ["sweep"],
    ["backup", "copy.db"],
    ["restore", "copy.db"],
    ["export", "console:ada"],
)


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_command_line_shows_no_secret_whatever_is_wrong(shell: Shell, world: World, model: Model, form: str) -> None:
    env = world.env | {"LOG_FORMAT": form}
    model.plan(ECHOING)
    done = [shell.run("chat", "--user", "ada", stdin="hello\nhello\n/export\n/status\n/doctor\n", env=env)]
    assert "You asked: hello" in done[0].out
    done += [shell.run(*line, env=env) for line in COMMANDS]
    assert done[-1].code == 0, done[-1].err
    wrongs = [
        {"ENCRYPTION_KEY": sha256(b"another").hexdigest()},
        {"DATABASE_URL": POSTGRES},
        {"DATABASE_URL": f"postgresql://parley@127.0.0.1:1/parley?password={quote(PASSWORD)}&connect_timeout=1"},
        {"DATABASE_URL": f"postgresql://parley@127.0.0.1:1/parley?connect_timeout={quote(PASSWORD)}"},
        {"DATABASE_URL": f"postgresql://parley:{PASSWORD.replace('/', '')}@[::1/parley"},
        *({name: f" {value}"} for name, value in CANARIES.items()),
    ]
    for wrong in wrongs:
        at_first = COMMANDS if len(wrong) and "ENCRYPTION_KEY" in wrong else COMMANDS[:2]
        done += [shell.run(*line, env=env | wrong) for line in at_first]
    with shell.store.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 20000)
    done += [shell.run(*line, env=env) for line in COMMANDS]
    assert {run.code for run in done} > {0, 65, 78}
    assert seen_in((f"run {number}", f"{run.out}\n{run.err}") for number, run in enumerate(done)) == []
    assert seen_in([*world.seen, *files_in(shell.home)]) == []
