"""Two replicas that hear the same shard: both are told of all that happens, and people see that it happened once."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.adapters.discord.context_menu import NAME
from store import Share
from tests.adapters.discord.pointing import QUICK
from tests.adapters.discord.replicas import MEMORY, Crowd, Replica, crowd
from tests.fakes.discord import Channel, FakeDiscord, Message
from tests.fakes.discord.messages import Message as Shown

pytestmark = pytest.mark.anyio

EVERYTHING = Share(parts=1, held=frozenset({0}), offered=frozenset(), others=1, rank=0)


@asynccontextmanager
async def two(database: str = MEMORY) -> AsyncIterator[tuple[Crowd, Channel]]:
    """Let two replicas hear the one shard for as long as the body lasts."""
    async with FakeDiscord(window=QUICK) as discord, crowd(discord, database) as people:
        general = discord.guild("Home").channel("general")
        for _ in range(2):
            await people.start(told=EVERYTHING)
        await people.until(lambda: all(replica.sessions for replica in people.replicas))
        assert len(discord.gateway.connected) == 2
        yield people, general


def noted(replicas: Iterable[Replica], owner: str, method: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note with what replicas call a method of their chat."""
    seen: list[Any] = []

    def noting(real: Any) -> Any:
        async def note(call: Any) -> Any:
            seen.append(call)
            return await real(call)

        return note

    for replica in replicas:
        part = getattr(replica.inside, owner)
        monkeypatch.setattr(part, method, noting(getattr(part, method)))
    return seen


def shown(people: Crowd, channel: Channel) -> list[Shown]:
    return [message for message in channel.messages if message.author is people.discord.bot]


async def delivered(people: Crowd) -> None:
    """Wait until both have been told of everything, and have done with it."""
    gateway = people.discord.gateway
    await people.until(lambda: all(session.written == len(session.sent) for session in gateway.connected))
    await people.until(people.quiet)
    for _ in range(20):
        await people.pass_time()


async def test_each_message_is_answered_once(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    async with two(database) as (people, general):
        taken = [noted([replica], "intake", "take", monkeypatch) for replica in people.replicas]
        thread = await general.start_thread("bread")
        for place in (general, thread, general, thread):
            await people.ask(place)
            await people.answered()  # what else is said in the thread until then joins the answer
        await delivered(people)
        await people.answered()
        asked = {str(message.id) for message in people.asked}
        # Who began to hear the server second also looks what it missed, and may be told of the first question twice.
        assert [{call.message_id for call in calls} for calls in taken] == [asked, asked]
        assert prompts(people) == len(people.asked)


async def test_an_edit_is_answered_anew_once_and_a_deletion_takes_the_answer_back() -> None:
    async with two() as (people, general):
        question = await people.ask(general)
        await people.answered()
        await question.author.edit(question, f"{people.discord.bot.mention} hello again")
        await people.until(lambda: prompts(people) == 2)
        await delivered(people)
        await people.answered()
        assert prompts(people) == 2
        await question.author.delete(question)
        await people.until(lambda: not shown(people, general))


async def test_a_notice_is_given_once() -> None:
    async with two() as (people, general):
        await people.ask(general, "x" * 30_000)
        await people.until(lambda: shown(people, general))
        await delivered(people)
        assert len(shown(people, general)) == 1


@pytest.mark.parametrize("kind", ["command", "press", "menu", "suggestion", "unknown"])
async def test_each_interaction_is_carried_out_once_and_answered_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async with two() as (people, general):
        question = await people.ask(general)
        await people.answered()
        (answer,) = shown(people, general)
        done = {
            "command": noted(people.replicas, "commands", "handle", monkeypatch),
            "press": noted(people.replicas, "presses", "press", monkeypatch),
            "menu": noted(people.replicas, "intake", "take", monkeypatch),
        }.get(kind)
        with capture_logs() as logs:
            call = await act(people, question, answer, kind)
            await people.until(lambda: len(people.discord.asked("POST", "/interactions/*/*/callback")) == 2)
            replies = {"suggestion": 0, "press": 0}.get(kind, 1)
            await people.until(lambda: len(call.replies) >= replies)  # they come behind the first response
            asked = {"press": 2, "menu": 2}.get(kind, 1)
            await people.until(lambda: prompts(people) >= asked)
            await delivered(people)
        if kind == "menu":  # who came second also looks what it missed, and may be told of the question again
            done = [taken for taken in done or [] if taken.message_id != str(question.id)]
        assert len(call.responses) == 1
        assert len(call.replies) == replies
        assert done is None or len(done) == 1
        assert prompts(people) == asked
        assert [line for line in logs if line["event"] in ("interaction.dead", "interaction.failed")] == []
        assert [record for record in caplog.records if record.name.startswith("discord")] == []


def prompts(people: Crowd) -> int:
    """Count what the models of all replicas were asked."""
    return sum(len(replica.model.prompts) for replica in people.replicas)


async def act(people: Crowd, question: Message, answer: Shown, kind: str) -> Any:
    """Start an interaction of a kind, while time passes."""
    asker, channel = question.author, question.channel
    match kind:
        case "command":
            await asker.slash(channel, "chat", "history")
        case "press":
            await asker.click(answer, "Regenerate")
        case "menu":
            await asker.use_on(answer, NAME)
        case "suggestion":
            await asker.autocomplete(channel, "parley", "channel", focused="value", value="t", setting="trigger")
        case "unknown":
            people.discord.commands[0]["options"].append({"type": 1, "name": "dance", "description": "Of another version"})
            await asker.slash(channel, people.discord.commands[0]["name"], "dance")
    return people.discord.interactions[-1]
