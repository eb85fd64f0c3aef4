"""The fake runs in a thread of its own, for bots that are processes."""

import logging
import subprocess
import sys

from slack_sdk import WebClient

from tests.fakes.slack import FakeSlackThread

BOT = """
import asyncio, logging, os
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

async def main():
    app = AsyncApp(client=AsyncWebClient(os.environ["BOT_TOKEN"], os.environ["API_URL"]))

    @app.event("message")
    async def answer(event, say):
        await say("Hi!", thread_ts=event["ts"])

    await AsyncSocketModeHandler(app, os.environ["APP_TOKEN"]).start_async()

asyncio.run(main())
"""


def test_the_fake_serves_from_a_thread_of_its_own() -> None:
    with FakeSlackThread() as slack:
        assert WebClient(slack.bot_token, slack.api_url, logger=logging.getLogger("tests")).auth_test()["ok"]
        slack.copies = 2
        assert slack.fake.copies == 2


def test_a_bot_in_a_process_of_its_own_is_talked_to() -> None:
    with FakeSlackThread() as slack:
        ada = slack.do(slack.workspace.user, "Ada")
        environment = {"BOT_TOKEN": slack.bot_token, "APP_TOKEN": slack.app_token, "API_URL": slack.api_url}
        with subprocess.Popen([sys.executable, "-c", BOT], env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                slack.until(lambda: slack.sockets)
                said = slack.do(ada.say, ada.dm, "hello")
                slack.until(lambda: [message.shown for message in ada.dm.thread(said)] == ["hello", "Hi!"])
            finally:
                process.kill()
