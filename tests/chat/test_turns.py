"""What people can rely on in a turn: answered once, in order, with everything that was said before the answer began."""

import asyncio
from datetime import timedelta

import pytest

from bot.chat.delivery import Reply
from bot.chat.generation import Generation
from bot.chat.protocol import Address, Place
from bot.chat.run import DELIVERIES, LEASE, TurnRun, TurnSettings
from bot.chat.turn_names import nonce
from bot.llm.protocol import (
    Finish,
    FinishReason,
    LLMTimeout,
    LLMUnavailable,
    PromptRole,
    PromptTooLong,
    StreamBroken,
    Usage,
)
from store import Answer, Ending, Message, StoreUnavailable, Turn, TurnState, open_store
from tests.chat.chatting import KITCHEN, PLATFORM, chatting, until
from tests.chat.dying import cut_short, die_before_showing, next_process
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface, Fault
from tests.uncollected import uncollected

pytestmark = pytest.mark.anyio


async def test_a_message_is_answered_and_both_are_kept() -> None:
    async with chatting(["Hello", " Ada."]) as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Hello Ada."]
        assert await chat.history() == [("user", "I am Ada."), ("assistant", "Hello Ada.")]


async def test_the_model_reads_the_persona_and_what_was_said_before() -> None:
    async with chatting("Hello Ada.", "You are Ada.") as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        await chat.say("Who am I?")
        await chat.quiet()
        assert [(message.role, message.text) for message in chat.model.prompts[1]] == [
            (PromptRole.SYSTEM, "Be kind."),
            (PromptRole.USER, "I am Ada."),
            (PromptRole.ASSISTANT, "Hello Ada."),
            (PromptRole.USER, "Who am I?"),
        ]


@pytest.mark.parametrize("second", ["You are Ada.", [LLMUnavailable("down")], ["You", StreamBroken("cut")]])
async def test_a_turn_that_is_over_is_out_of_memory_at_once(second: object) -> None:
    """Windows and pictures would else stay until Python looks for what only refers to itself: that costs a pause."""
    async with chatting("Hello Ada.", second) as chat:
        await chat.say("I am Ada.")
        await chat.quiet()
        with uncollected() as left:
            await chat.say("Who am I?")
            await chat.quiet()
            assert left(TurnRun, Generation, Reply, Message) == []


async def test_a_redelivered_message_is_answered_once() -> None:
    async with chatting("Hello.") as chat:
        await asyncio.gather(*[chat.say("Hi", position=7, event=f"e{n % 2}") for n in range(10)])
        await chat.quiet()
        await chat.say("Hi", position=7)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Hello."]


async def test_a_message_before_the_first_text_restarts_the_answer_with_both() -> None:
    never = asyncio.Event()
    async with chatting([never, "lost"], "Both.") as chat:
        await chat.say("One")
        await until(lambda: chat.model.open_streams == 1)
        await chat.say("Two")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Both."]
        assert [message.text for message in chat.model.prompts[1]] == ["Be kind.", "One", "Two"]
        assert await chat.history() == [("user", "One"), ("user", "Two"), ("assistant", "Both.")]
        assert chat.model.left_early == 1


async def test_a_message_after_the_first_text_becomes_the_next_turn_with_all_that_came() -> None:
    go_on = asyncio.Event()
    async with chatting(["First", go_on, " done."], "Second.") as chat:
        await chat.say("One")
        await until(lambda: chat.surface.texts(KITCHEN) == ["First"])
        await chat.say("Two")
        await chat.say("Three")
        go_on.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["First done.", "Second."]
        assert await chat.history() == [
            ("user", "One"),
            ("assistant", "First done."),
            ("user", "Two"),
            ("user", "Three"),
            ("assistant", "Second."),
        ]


async def test_one_conversation_runs_one_turn_at_a_time_and_others_run_beside_it() -> None:
    kitchen, garden = asyncio.Event(), asyncio.Event()
    async with chatting(["K", kitchen], ["G", garden], "K2") as chat:
        await chat.say("in the kitchen")
        await until(lambda: chat.model.open_streams == 1)
        await chat.say("in the garden", channel="garden")
        await until(lambda: chat.model.open_streams == 2)
        await until(lambda: chat.surface.texts(KITCHEN) == ["K"])
        await chat.say("again in the kitchen")
        await asyncio.sleep(0.02)
        assert chat.model.open_streams == 2
        kitchen.set()
        garden.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["K", "K2"]


async def test_shuffled_messages_are_stored_and_read_in_the_platforms_order() -> None:
    async with chatting("Done.", working=False) as chat:
        for position in (3, 1, 5, 2, 4):
            await chat.say(f"part {position}", position=position)
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert [text for _, text in await chat.history()] == [f"part {n}" for n in range(1, 6)] + ["Done."]


async def test_fifty_messages_at_once_are_all_answered_in_turns_of_twenty() -> None:
    async with chatting("a", "b", "c", working=False) as chat:
        for _ in range(50):
            await chat.say("more")
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert [index for index, (role, _) in enumerate(await chat.history()) if role == "assistant"] == [20, 41, 52]
        chat.model.check_all_used()


async def test_with_no_free_slot_a_message_waits_its_turn() -> None:
    settings = TurnSettings(system_prompt="", history_messages=20, history_tokens=8000, concurrent=1)
    first = asyncio.Event()
    async with chatting(["K", first], "G", settings=settings) as chat:
        await chat.say("in the kitchen")
        await until(lambda: chat.model.open_streams == 1)
        await chat.say("in the garden", channel="garden")
        assert (await chat.store.status()).queued == 1
        first.set()
        await chat.quiet()
        assert chat.surface.texts(Address(platform=PLATFORM, workspace="w", channel="garden")) == ["G"]


async def test_a_caller_that_goes_away_does_not_take_the_turn_with_it() -> None:
    async with chatting("Answer.") as chat:
        await until(lambda: chat.clock.sleeping > 0)  # the worker is at rest
        saying = asyncio.create_task(chat.say("Question"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        saying.cancel()
        await asyncio.wait({saying})
        await chat.quiet()
        assert saying.cancelled()
        assert chat.surface.texts(KITCHEN) == ["Answer."]


async def test_stop_keeps_what_was_visible_and_says_so() -> None:
    never = asyncio.Event()
    async with chatting(["Half an", " answer", never]) as chat:
        outcome = await chat.say("Tell me all")
        await until(lambda: bool(chat.surface.texts(KITCHEN)))
        assert outcome.conversation_id is not None
        await chat.turns.stop(outcome.conversation_id)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Half an answer\n\n*(stopped)*"]
        assert await chat.history() == [("user", "Tell me all"), ("assistant", "Half an answer")]
        assert (await chat.store.recent(outcome.conversation_id, 1))[0].ending is Ending.STOPPED


async def test_stop_before_the_first_text_says_that_it_stopped() -> None:
    never = asyncio.Event()
    async with chatting([never]) as chat:
        outcome = await chat.say("Tell me all")
        await until(lambda: chat.model.open_streams == 1)
        assert outcome.conversation_id is not None
        await chat.turns.stop(outcome.conversation_id)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Stopped."]
        assert await chat.history() == [("user", "Tell me all")]


@pytest.mark.parametrize("failure", [LLMTimeout("slow"), LLMUnavailable("down"), StreamBroken("cut")])
async def test_a_failing_model_is_told_in_one_sentence_and_retry_asks_again(failure: Exception) -> None:
    async with chatting([failure], "Here you are.") as chat:
        outcome = await chat.say("Question")
        await chat.quiet()
        (sentence,) = chat.surface.texts(KITCHEN)
        assert "retry" in sentence
        assert "\n" not in sentence
        assert await chat.history() == [("user", "Question")]
        assert outcome.conversation_id is not None
        assert await chat.turns.retry(outcome.conversation_id)
        await chat.quiet()
        assert await chat.history() == [("user", "Question"), ("assistant", "Here you are.")]
        assert chat.surface.texts(KITCHEN) == ["Here you are."]


async def test_a_model_that_breaks_off_leaves_its_partial_answer_marked() -> None:
    async with chatting(["So far so", " good", StreamBroken("cut")]) as chat:
        await chat.say("Question")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["So far so good\n\n*(interrupted; the command `retry` asks again)*"]
        assert await chat.history() == [("user", "Question"), ("assistant", "So far so good")]


async def test_retry_replaces_the_answer_in_place() -> None:
    async with chatting("First try.", "Second try.") as chat:
        outcome = await chat.say("Question")
        await chat.quiet()
        assert outcome.conversation_id is not None
        assert await chat.turns.retry(outcome.conversation_id)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Second try."]
        assert await chat.history() == [("user", "Question"), ("assistant", "Second try.")]


async def test_a_prompt_too_long_is_tried_once_more_with_half_the_history() -> None:
    settings = TurnSettings(system_prompt="", history_messages=20, history_tokens=60, concurrent=1)
    async with chatting("a" * 60, [PromptTooLong("no")], "short", settings=settings) as chat:
        await chat.say("x" * 30)
        await chat.quiet()
        await chat.say("y")
        await chat.quiet()
        assert [len(prompt) for prompt in chat.model.prompts] == [1, 3, 1]
        assert (await chat.history())[-1] == ("assistant", "short")


async def test_what_no_store_can_keep_is_replaced_in_an_answer() -> None:
    async with chatting(["nul \0, half \ud83d", "\ude00, lone \ud83d."]) as chat:
        await chat.say("Question")
        await chat.quiet()
        assert (await chat.history())[-1] == ("assistant", "nul \ufffd, half \U0001f600, lone \ufffd.")


async def test_a_gone_channel_ends_the_turn_as_undeliverable_and_the_message_is_kept() -> None:
    async with chatting("Nobody hears this.", "Hello again.") as chat:
        chat.surface.script("post", Fault.UNREACHABLE)
        await chat.say("Anybody there?")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == []
        assert (await chat.history())[0] == ("user", "Anybody there?")
        await chat.say("I am back")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Hello again."]


async def test_a_turn_cut_short_by_a_crash_is_completed_in_the_same_message() -> None:
    async with cut_short("Question") as dead, next_process(dead, "The whole.") as chat:
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["The whole."]
        assert await chat.history() == [("user", "Question"), ("assistant", "The whole.")]


async def test_what_is_said_under_an_answer_that_a_crash_cut_short_has_an_answer_of_its_own() -> None:
    thinking = asyncio.Event()
    async with cut_short("One?") as dead, next_process(dead, [thinking, "One."], "Two.") as chat:
        await until(lambda: len(chat.model.prompts) == 1)
        await chat.say("Two?", position=2)
        thinking.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["One.", "Two."]
        assert await chat.history() == [("user", "One?"), ("assistant", "One."), ("user", "Two?"), ("assistant", "Two.")]


async def test_a_crash_between_the_answer_and_its_delivery_costs_no_second_model_call() -> None:
    async with chatting("The whole.") as dead:
        await die_before_showing(dead, "Question")
        async with next_process(dead) as chat:
            await chat.quiet()
            assert chat.surface.texts(KITCHEN) == ["The whole."]
            assert chat.model.prompts == []


async def test_a_post_whose_answer_was_lost_in_the_crash_is_found_and_not_repeated() -> None:
    clock = FakeClock()
    async with chatting(surface=FakeSurface(clock, nonces=False), clock=clock, working=False) as dead:
        await dead.say("Question")
        claim = await dead.store.claim(lease=LEASE, window=20, platforms=(PLATFORM,))
        assert claim is not None
        await dead.surface.post(KITCHEN, "Onc", nonce=nonce(claim.turn, 1))  # and then the process died
        async with next_process(dead, "Once.") as chat:
            await chat.quiet()
            assert chat.surface.texts(KITCHEN) == ["Once."]


async def test_what_was_posted_before_a_crash_is_found_though_more_was_said_since() -> None:
    clock = FakeClock()
    async with chatting(surface=FakeSurface(clock, nonces=False), clock=clock, working=False) as dead:
        question = dead.message("Question")
        await dead.intake.take(question)
        claim = await dead.store.claim(lease=LEASE, window=20, platforms=(PLATFORM,))
        assert claim is not None
        await dead.surface.post(question.address, "Onc", nonce=nonce(claim.turn, 1))  # and then the process died
        await dead.say("And another one", position=2)
        async with next_process(dead, "Once.", "Once.") as chat:
            await chat.quiet()
            assert chat.surface.texts(KITCHEN) == ["Once."]


@pytest.mark.parametrize(("deaths", "shown"), [(DELIVERIES - 1, ["Known."]), (DELIVERIES, [])])
async def test_an_answer_that_is_known_is_shown_though_many_processes_died_while_it_waited(
    deaths: int, shown: list[str]
) -> None:
    clock = FakeClock()
    async with chatting(clock=clock, working=False) as chat:
        await chat.say("Question")
        claim = await chat.store.claim(lease=LEASE, window=20, platforms=(PLATFORM,))
        assert claim is not None
        assert await chat.store.finish(claim.hold, Answer(text="Known.", ending=Ending.COMPLETE))
        for _ in range(deaths - 1):
            await clock.advance(LEASE)
            assert await chat.store.claim(lease=LEASE, window=20, platforms=(PLATFORM,)) is not None
        await clock.advance(LEASE)
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == shown


async def test_a_worker_that_was_paused_past_its_lease_posts_and_stores_nothing() -> None:
    clock, go_on = FakeClock(), asyncio.Event()
    surface = FakeSurface(clock)
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    async with chatting([go_on, "stale"], store=store, surface=surface, clock=clock) as paused:
        await paused.say("Question")
        await until(lambda: paused.model.open_streams == 1)
        clock._passed += LEASE  # as after SIGSTOP: time went by and no timer ran
        other = await store.claim(lease=LEASE, window=20, platforms=(PLATFORM,))
        assert other is not None
        go_on.set()
        await until(lambda: paused.turns.running == 0)
        assert surface.texts(KITCHEN) == []
        assert await paused.history() == [("user", "Question")]
        await store.settle(other.hold, TurnState.CANCELLED)
    await store.aclose()


async def test_a_store_that_fails_for_a_while_costs_no_attempt_and_no_message(monkeypatch) -> None:
    async with chatting(*["Answer."] * 6) as chat:
        real, failures = chat.store.finish, []

        async def finish(*args: object, **kwargs: object) -> bool:
            if len(failures) < 5:
                failures.append(1)
                raise StoreUnavailable("the disk is full")
            return await real(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(chat.store, "finish", finish)
        await chat.say("Question")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Answer."]
        assert await chat.history() == [("user", "Question"), ("assistant", "Answer.")]


async def test_a_lease_is_kept_while_a_slow_model_thinks() -> None:
    slow = asyncio.Event()
    async with chatting([slow, "At last."]) as chat:
        await chat.say("Question")
        await until(lambda: chat.model.open_streams == 1)
        for _ in range(12):
            await chat.clock.advance(timedelta(seconds=5))
            await asyncio.sleep(0.01)
        assert await chat.store.claim(lease=LEASE, window=20, platforms=(PLATFORM,)) is None
        slow.set()
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["At last."]


async def test_draining_lets_running_turns_finish_and_takes_no_new_ones() -> None:
    go_on = asyncio.Event()
    async with chatting(["Begun", go_on, " and done."]) as chat:
        await chat.say("One")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Begun"])
        drain = asyncio.create_task(chat.turns.drain(timedelta(seconds=25)))
        await asyncio.sleep(0.01)
        await chat.say("Two", channel="garden")
        go_on.set()
        while not drain.done():
            await chat.clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0.001)
        assert chat.surface.texts(KITCHEN) == ["Begun and done."]
        assert (await chat.store.status()).queued == 1


async def test_what_drain_can_not_wait_for_is_handed_back_without_counting_as_a_crash() -> None:
    never = asyncio.Event()
    async with chatting(["Begun", never], "Begun and done.") as chat:
        await chat.say("One")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Begun"])
        drain = asyncio.create_task(chat.turns.drain(timedelta(seconds=5)))
        while not drain.done():
            await chat.clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0.001)
        claim = await chat.store.claim(lease=LEASE, window=20, platforms=(PLATFORM,))
        assert claim is not None
        assert claim.turn.attempts == 1
        assert claim.parts == {1: chat.surface.shown(KITCHEN)[0].id}


async def test_in_a_thread_everybody_shares_the_conversation_and_names_are_told() -> None:
    async with chatting("Hello both.", "Yes.") as chat:
        await chat.say("I am here", user="ada", place=Place.THREAD, thread="t1")
        await chat.quiet()
        await chat.say("me too", user="bob", place=Place.THREAD, thread="t1", addressed=False)
        await chat.quiet()
        assert [message.text for message in chat.model.prompts[1]][1:] == ["Ada: I am here", "Hello both.", "Bob: me too"]


def test_a_nonce_is_the_same_after_a_restart_and_differs_by_part_turn_and_store() -> None:
    def turn(number: int, seconds: int) -> Turn:
        return Turn(
            id=number,
            conversation_id=1,
            state=TurnState.QUEUED,
            attempts=1,
            address="",
            queued_at=START + timedelta(seconds=seconds),
            error="",
        )

    nonces = [nonce(turn(1, 0), 1), nonce(turn(1, 0), 2), nonce(turn(2, 0), 1), nonce(turn(1, 1), 1)]
    assert nonce(turn(1, 0), 1) == nonces[0]
    assert len(set(nonces)) == 4
    assert all(len(text) <= 25 for text in nonces)


async def test_a_name_of_the_model_that_can_not_be_stored_costs_no_answer() -> None:
    served = Finish(reason=FinishReason.STOP, usage=Usage(), model="a\0b\ud83d")
    async with chatting(["Fine.", served]) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Fine."]
        assert len(chat.model.prompts) == 1
