"""The buttons under an answer, Slack's own stop, and what people think of answers."""

import asyncio
from datetime import timedelta

import pytest

from bot.chat import words
from bot.llm.protocol import Finish, FinishReason, Usage
from store import Feedback, MessageName, StoreUnavailable
from tests.adapters.slack.interactive import InteractiveBot, interactive, texts, whispers
from tests.adapters.slack.showing import answers, below
from tests.fakes.slack import Channel, FakeSlack, Message, NotOffered, User
from tests.fakes_slack.bots import Run, by_http, by_socket

pytestmark = pytest.mark.anyio

both_transports = pytest.mark.parametrize("run", [by_socket, by_http])
CUT = ["Once upon a", Finish(reason=FinishReason.LENGTH, usage=Usage(), model="scripted")]


async def asked(bot: InteractiveBot, *others: User) -> tuple[User, Channel, Message]:
    """Let Ada ask in a channel."""
    ada = bot.slack.workspace.user("Ada")
    general = bot.slack.workspace.channel("general", ada, *others)
    return ada, general, await ada.say(general, f"{bot.slack.workspace.bot.mention} tell me a story")


async def turn_of(bot: InteractiveBot, answer: Message) -> int:
    channel = answer.channel
    name = MessageName(platform="slack", workspace=channel.team.id, channel=channel.id, id=answer.ts)
    located = await bot.store.locate(name)
    assert located is not None
    return located.turn_id


@both_transports
async def test_stop_stops_the_answer_as_it_grows(run: Run) -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never], run=run) as bot:
        ada, general, _ = await asked(bot)
        await bot.until(lambda: answers(general) and answers(general)[-1].buttons)
        pressed = await ada.click(answers(general)[-1], "parley_stop")
        assert pressed.acked
        await bot.quiet()
        assert "stopped" in texts(general)[0]
        assert whispers(ada) == []  # all is plain to see


@both_transports
async def test_regenerate_asks_again_in_place(run: Run) -> None:
    async with interactive("First.", "Second.", run=run) as bot:
        ada, general, _ = await asked(bot)
        answer = await bot.answered(general)
        await ada.click(answer, "parley_retry")
        await bot.until(lambda: texts(general) == ["Second."])
        await bot.quiet()
        assert len(answers(general)) == 1


async def test_continue_goes_on_in_the_thread_by_the_name_of_who_pressed() -> None:
    async with interactive(CUT, "time there was a bot.") as bot:
        ada, general, root = await asked(bot)
        answer = await bot.answered(general)
        await ada.click(answer, "parley_continue")
        last = await bot.answered(general, 2)
        assert last.thread_ts == root.ts
        conversation = await bot.conversation(general, thread=root)
        said = await bot.store.recent(conversation.id, 10)
        assert [(message.author_name, message.text) for message in said][2] == ("Ada", "Continue.")
        assert texts(general)[1] == "time there was a bot."


async def test_somebody_elses_answer_is_not_theirs_to_stop_but_an_operators() -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        bob = bot.slack.workspace.user("Bob")
        _, general, root = await asked(bot, bob, bot.olga)
        await bot.until(lambda: answers(general) and answers(general)[-1].buttons)
        await bob.click(answers(general)[-1], "parley_stop")
        await bot.until(lambda: bob.ephemerals)
        assert whispers(bob) == [words.NOT_YOURS]
        assert bob.ephemerals[0].thread_ts == root.ts
        await bot.olga.click(answers(general)[-1], "parley_stop")
        await bot.quiet()
        assert "stopped" in texts(general)[0]


async def test_a_press_is_acknowledged_while_the_store_fails() -> None:
    async with interactive("First.") as bot:
        ada, general, _ = await asked(bot)
        answer = await bot.answered(general)
        await bot.store.aclose()
        pressed = await ada.click(answer, "parley_retry")
        assert pressed.acked
        await bot.slack.until(lambda: ada.ephemerals)
        assert whispers(ada) == [words.STORE_FAILED]


async def test_a_button_with_a_value_that_is_none_of_ours_is_answered_with_a_sentence() -> None:
    async with interactive("First.") as bot:
        ada, general, _ = await asked(bot)
        answer = await bot.answered(general)
        for value in ("", "x:y", "1", "99999:abc"):
            await ada.click(answer, "parley_retry", value=value)
        await bot.until(lambda: len(ada.ephemerals) == 4)
        assert set(whispers(ada)) == {words.ANSWER_UNKNOWN}


async def test_an_answer_in_direct_messages_has_the_same_buttons() -> None:
    async with interactive("First.", "Second.") as bot:
        ada = bot.slack.workspace.user("Ada")
        await ada.say(ada.dm, "hello")
        answer = await bot.answered(ada.dm)
        await ada.click(answer, "parley_retry")
        await bot.until(lambda: texts(ada.dm) == ["Second."])


@both_transports
async def test_feedback_is_kept_with_the_turn_and_the_last_word_counts(run: Run) -> None:
    async with interactive("An answer.", run=run) as bot:
        bob = bot.slack.workspace.user("Bob")
        ada, general, _ = await asked(bot, bob)
        answer = await bot.answered(general)
        turn = await turn_of(bot, answer)
        assert (await ada.feedback(answer, good=True)).acked
        await bot.until(lambda: len(ada.ephemerals) == 1)
        await ada.feedback(answer, good=False)
        await bob.feedback(answer, good=True)
        await bot.until(lambda: len(ada.ephemerals) == 2 and bob.ephemerals)
        assert whispers(ada) == [words.FEEDBACK_KEPT] * 2
        assert (await bot.store.facts(turn)).feedback == {ada.id: Feedback.BAD, bob.id: Feedback.GOOD}


async def test_an_answer_that_became_a_file_can_be_judged_and_asked_again() -> None:
    long = "word " * 7000
    async with interactive(long, "Shorter.") as bot:
        ada, general, _ = await asked(bot)
        await bot.answered(general, 2)
        beginning, file = answers(general)
        assert file.files[0].data.decode() == long
        assert (await ada.feedback(beginning, good=False)).acked
        await ada.click(beginning, "parley_retry")
        await bot.until(lambda: texts(general) == ["Shorter."])
        assert whispers(ada) == [words.FEEDBACK_KEPT]


async def test_feedback_on_another_channels_turn_is_not_kept() -> None:
    async with interactive("Here.", "There.") as bot:
        ada, general, _ = await asked(bot)
        here = await bot.answered(general)
        await ada.say(ada.dm, "hello")
        there = await bot.answered(ada.dm)
        turn = await turn_of(bot, there)
        here.blocks[-1]["elements"][0]["positive_button"]["value"] = f"good:{turn}"
        await ada.feedback(here, good=True)
        await bot.until(lambda: ada.ephemerals)
        assert whispers(ada) == [words.ANSWER_UNKNOWN]
        assert (await bot.store.facts(turn)).feedback == {}


async def test_a_growing_answer_has_no_feedback_buttons() -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        ada, general, _ = await asked(bot)
        await bot.until(lambda: answers(general) and answers(general)[-1].buttons)
        with pytest.raises(NotOffered):
            await ada.feedback(answers(general)[-1], good=True)


@both_transports
async def test_slacks_own_stop_stops_the_answer_and_the_session_is_active_again(run: Run) -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never], run=run) as bot:
        ada = bot.slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "begin", heard=False)
        await ada.say(ada.dm, "a story", thread=root)
        await bot.until(lambda: any("Half" in text for text in texts(ada.dm)))
        await ada.stop(root)
        await bot.quiet()
        await bot.afterwards.close()
        assert any("stopped" in text for text in texts(ada.dm))
        assert bot.slack.sessions[ada.dm.id, root.ts].status == "active"


async def test_the_first_question_in_the_agent_view_is_streamed_and_can_be_stopped() -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        ada = bot.slack.workspace.user("Ada")
        root = await ada.ask("a story")
        await bot.until(lambda: texts(ada.dm))
        (growing,) = answers(ada.dm)
        assert growing.streaming
        assert growing.thread_ts == root.ts
        assert bot.slack.sessions[ada.dm.id, root.ts].status == "processing"
        await ada.stop(root)
        await bot.quiet()
        await bot.afterwards.close()
        assert "stopped" in texts(ada.dm)[0]
        assert bot.slack.sessions[ada.dm.id, root.ts].status == "active"


async def test_slacks_own_stop_finds_an_answer_in_a_channels_thread() -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        ada, general, root = await asked(bot)
        await bot.until(lambda: texts(general))
        await ada.stop(root)
        await bot.quiet()
        assert "stopped" in texts(general)[0]


async def test_slacks_own_stop_is_told_again_while_the_store_fails() -> None:
    never = asyncio.Event()
    async with (
        FakeSlack(retry_after=(timedelta(), timedelta())) as slack,
        interactive(["Half an answer", never], slack=slack, run=by_http) as bot,
    ):
        ada, general, root = await asked(bot)
        await bot.until(lambda: texts(general))
        stop, failures = bot.store.stop, [StoreUnavailable("busy")]

        async def failing(conversation_id: int) -> object:
            if failures:
                raise failures.pop()
            return await stop(conversation_id)

        bot.store.stop = failing  # type: ignore[method-assign, assignment]
        await ada.stop(root)
        await bot.quiet()
        assert "stopped" in texts(general)[0]
        (delivery,) = [delivery for delivery in slack.deliveries if delivery.name == "agent_session_stopped"]
        assert [attempt.acked for attempt in delivery.attempts] == [False, True]


@pytest.mark.parametrize("rolling", [True, False], ids=["direct message", "thread"])
async def test_a_stop_that_a_write_learnt_of_stops_too(rolling: bool) -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        ada = bot.slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "a story", heard=rolling)
        if not rolling:
            await ada.say(ada.dm, "a story", thread=root)
        await bot.until(lambda: texts(ada.dm))
        where = below(root, thread=not rolling)
        await bot.registered.native_stop.stop(where.workspace, where.channel, where.thread or where.reply_to)
        await bot.until(lambda: "stopped" in texts(ada.dm)[0])


async def test_slacks_own_stop_where_nothing_runs_does_no_harm() -> None:
    async with interactive() as bot:
        ada = bot.slack.workspace.user("Ada")
        root = await ada.say(ada.dm, "hello", heard=False)
        await ada.stop(root)
        await bot.quiet()
        await bot.afterwards.close()
        assert all(delivery.acked for delivery in bot.slack.deliveries)


async def test_an_app_that_is_no_agent_stops_all_the_same() -> None:
    never = asyncio.Event()
    async with interactive(["Half an answer", never]) as bot:
        bot.slack.workspace.agent = False  # then Slack refuses the session's status
        ada, general, root = await asked(bot)
        await bot.until(lambda: texts(general))
        await ada.stop(root)
        await bot.quiet()
        assert "stopped" in texts(general)[0]
