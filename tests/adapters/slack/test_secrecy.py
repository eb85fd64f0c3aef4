"""What stands in the log: at every level no word that people wrote or read, no token, no address that works like one."""

import io
import json

import pytest

from store import StoreUnavailable
from tests.adapters.slack.interactive import InteractiveBot, interactive
from tests.fakes_slack.bots import Run, by_http, by_socket

pytestmark = pytest.mark.anyio
both_transports = pytest.mark.parametrize("run", [by_socket, by_http])

QUESTION, ANSWER, SECOND = "my word is xyloquartz", "your word was xyloquartz", "indeed xyloquartz"


@both_transports
async def test_nothing_that_was_said_stands_in_the_log_at_any_level(run: Run, written: io.StringIO) -> None:
    async with interactive(ANSWER, ANSWER, SECOND, SECOND, SECOND, run=run) as bot:
        await talk(bot)
        slack = bot.slack
    secrets = [slack.bot_token, slack.app_token, slack.signing_secret]
    secrets += [done.payload["response_url"] for done in slack.interactions if "response_url" in done.payload]
    assert len(secrets) > 3
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    said = "\n".join(str(line) for line in lines if not line["logger"].startswith("tests."))  # these are the fake's own
    assert "intake.accepted" in said
    assert "interaction.failed" in said
    assert "xyloquartz" not in said
    for secret in secrets:
        assert secret not in said


async def talk(bot: InteractiveBot) -> None:
    """Let people do all that they can, also what fails."""
    ada = bot.slack.workspace.user("Ada")
    general = bot.slack.workspace.channel("general", ada)
    root = await ada.say(general, f"{bot.slack.workspace.bot.mention} {QUESTION}")
    answer = await bot.answered(general)
    await ada.slash("/chat", "history", general)
    await ada.say(general, "!history", thread=root)
    await ada.shortcut(root, "parley_summarise")
    await bot.answered(general, 2)
    await ada.feedback(answer, good=True)
    await ada.open_home()
    await bot.until(lambda: ada.home and len(ada.ephemerals) == 4)
    aside = await ada.say(ada.dm, QUESTION)
    await ada.say(ada.dm, QUESTION, thread=aside)
    await bot.answered(ada.dm, 2)
    await ada.edit(aside, f"{QUESTION}!")
    await bot.quiet()

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot handle {QUESTION}")

    bot.store.find = broken  # type: ignore[method-assign]
    await ada.slash("/chat", f"history {QUESTION}", general)
    await ada.slash("/chat", "history", general)
    await bot.until(lambda: len(ada.ephemerals) == 6)

    async def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    bot.store.accept = full  # type: ignore[method-assign]
    await ada.say(ada.dm, QUESTION)
