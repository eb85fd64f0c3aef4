"""Two workspaces never share anything: what comes from another one, with all the same ids, reaches no conversation here."""

import asyncio

import pytest

from bot.chat.access import Refusal
from bot.chat.words_governing import REFUSALS
from tests.adapters.slack.interactive import interactive, texts, whispers
from tests.adapters.slack.showing import answers
from tests.fakes.slack import Attempt, FakeSlack
from tests.fakes_slack.bots import by_http

pytestmark = pytest.mark.anyio
NOWHERE = "http://127.0.0.1:9/"


async def sent_from(slack: FakeSlack, attempt: Attempt, workspace: str) -> int:
    """Send a request of Slack's as if it came from another workspace; returns the status."""
    body = attempt.body.replace(slack.workspace.id.encode(), workspace.encode())
    assert body != attempt.body
    form = attempt.headers["Content-Type"]
    status, _ = await slack.send_signed(body, Content_Type=form)
    return status


async def test_the_same_ids_in_another_workspace_reach_nothing_here() -> None:
    never = asyncio.Event()
    async with (
        FakeSlack(retry_after=()) as slack,
        interactive("An answer.", ["Half", never], slack=slack, run=by_http) as bot,
    ):
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        root = await ada.say(general, f"{slack.workspace.bot.mention} a secret")
        answer = await bot.answered(general)
        story = await ada.ask("a story")
        await bot.until(lambda: texts(ada.dm))
        await ada.open_home()
        await bot.until(lambda: ada.home and len(ada.home.blocks) > 3)
        (before, seen) = len(slack.attempts), len(ada.ephemerals)

        here, slack.events_url = slack.events_url, NOWHERE
        await ada.click(answer, "parley_retry")
        await ada.feedback(answer, good=False)
        await ada.click(ada.home, "parley_forget")
        for line in ("forget", "history", "new", "stop"):
            await ada.slash("/chat", line, general)
            await ada.slash("/chat", line, ada.dm)
        for line in ("!forget", "!history", "!new", "!stop"):
            await ada.say(general, line, thread=root)
            await ada.ask(line, thread=story)
        await ada.stop(story)
        await ada.edit(root, "no secret")
        await ada.delete(root)
        general.archive()
        await slack.until(lambda: slack.quiet)
        slack.events_url, foreign = here, slack.team("South")
        made = slack.attempts[before:]
        assert len(made) > 20
        for attempt in made:
            assert await sent_from(slack, attempt, foreign.id) == 200
        await bot.afterwards.close()

        assert await bot.history(general, thread=root) == ["a secret", "An answer."]
        assert len(bot.model.prompts) == 2
        assert answers(general) == [answer]
        assert "stopped" not in texts(ada.dm)[0]
        conversation = await bot.conversation(ada.dm, thread=story)
        assert conversation is not None
        assert conversation.ended_at is None
        turn = int(answer.blocks[-1]["elements"][0]["positive_button"]["value"].partition(":")[2])
        assert (await bot.store.facts(turn)).feedback == {}
        said = whispers(ada)[seen:]
        assert not any("secret" in shown for shown in said)
        assert REFUSALS[Refusal.EXTERNAL] in said  # there they are of another organisation
