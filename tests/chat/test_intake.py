"""What is taken in, what is refused and in which words, and that nothing is acknowledged that was not kept."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.chat import words_governing as words
from bot.chat.access import Refusal
from bot.chat.callers import MEMBER, UNKNOWN, Kind, Standing
from bot.chat.composing import NO_TEXT
from bot.chat.intake import NOTICES_EVERY, Outcome, Verdict
from bot.chat.policy import BOT_TURNS, Placement, Rules, Scope, Trigger
from bot.chat.protocol import Address, FileOffer, Place, Quote
from store import ConversationKey, MessageName, StoreUnavailable, TurnState, Watermark
from tests.chat.chatting import KITCHEN, PLATFORM, Chat, chatting
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("text", ["", " \n\t", "\u2003"])
async def test_an_empty_message_gets_one_help_line_and_no_model_call(text: str) -> None:
    async with chatting() as chat:
        outcome = await chat.say(text)
        assert outcome.verdict is Verdict.REFUSED
        assert "\n" not in outcome.notice
        assert await chat.history() == []


async def test_a_message_over_the_limit_is_refused_with_the_limit() -> None:
    async with chatting(characters=100) as chat:
        outcome = await chat.say("x" * 101)
        assert outcome.verdict is Verdict.REFUSED
        assert "100" in outcome.notice
        assert await chat.history() == []


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d", "\udcff"])
async def test_what_no_store_can_keep_is_refused_in_words(text: str) -> None:
    async with chatting() as chat:
        outcome = await chat.say(text)
        assert outcome.verdict is Verdict.REFUSED
        assert outcome.notice
        assert await chat.history() == []


async def test_unusual_but_valid_text_comes_back_as_it_was() -> None:
    text = "\u202eright to left\u202c " + "😀" * 1000
    async with chatting(working=False) as chat:
        await chat.say(text)
        assert await chat.history() == [("user", text)]


async def test_a_message_to_others_is_ignored_and_not_kept() -> None:
    async with chatting(working=False) as chat:
        assert (await chat.say("psst", addressed=False)).verdict is Verdict.IGNORED
        assert await chat.history() == []


async def test_a_channel_that_is_listened_to_needs_no_mention() -> None:
    async with chatting(rules=Rules(trigger=Trigger.LISTEN), working=False) as chat:
        assert (await chat.say("anybody?", addressed=False)).verdict is Verdict.TAKEN


async def test_a_thread_is_answered_without_a_mention_once_the_bot_takes_part() -> None:
    async with chatting(working=False) as chat:
        where = {"place": Place.THREAD, "thread": "t"}
        assert (await chat.say("hm", addressed=False, **where)).verdict is Verdict.IGNORED
        assert (await chat.say("bot?", addressed=True, **where)).verdict is Verdict.TAKEN
        assert (await chat.say("and?", addressed=False, **where)).verdict is Verdict.TAKEN


async def test_the_same_message_under_two_events_is_taken_once() -> None:
    async with chatting(working=False) as chat:
        assert (await chat.say("hi", event="Ev1", position=5)).verdict is Verdict.TAKEN
        assert (await chat.say("hi", event="Ev2", position=5)).verdict is Verdict.KNOWN


async def test_a_failing_store_reaches_the_adapter_so_that_nothing_is_acknowledged(monkeypatch) -> None:
    async def full(message: object) -> None:
        raise StoreUnavailable("the disk is full")

    async with chatting(working=False) as chat:
        monkeypatch.setattr(chat.store, "accept", full)
        with pytest.raises(StoreUnavailable):
            await chat.say("hi")


async def test_a_channel_that_is_switched_off_hears_nothing_not_even_its_name() -> None:
    async with chatting(rules=Rules(trigger=Trigger.OFF), working=False) as chat:
        assert (await chat.say("bot?")).verdict is Verdict.IGNORED
        assert await chat.history() == []


async def test_bots_are_answered_three_times_in_a_row_until_a_human_speaks() -> None:
    async with chatting(*["Hm."] * 10, rules=Rules(bots=True, scope=Scope.CHANNEL)) as chat:
        for _ in range(BOT_TURNS):
            assert (await chat.say("Hello bot", user="robot", from_bot=True)).verdict is Verdict.TAKEN
            await chat.quiet()
        assert (await chat.say("Hello bot", user="robot", from_bot=True)).verdict is Verdict.IGNORED
        assert (await chat.say("Stop it, you two.")).verdict is Verdict.TAKEN
        await chat.quiet()
        assert (await chat.say("Hello bot", user="robot", from_bot=True)).verdict is Verdict.TAKEN
        await chat.quiet()
        said = (await chat.store.recent(await conversation(chat, user=""), 3))[1]
        assert (said.author_id, said.from_bot) == ("robot", True)


async def conversation(chat: Chat, **key: str) -> int:
    parts = {"platform": PLATFORM, "workspace": "w", "channel": "kitchen", "user": "ada"} | key
    found = await chat.store.find(ConversationKey(**parts))
    assert found is not None
    return found.id


async def test_with_placement_thread_an_answer_begins_a_thread_that_everybody_shares() -> None:
    async with chatting("Yes?", "Hello Bob.", rules=Rules(placement=Placement.THREAD)) as chat:
        await chat.say("bot?", position=7)
        await chat.quiet()
        within = Address(platform=PLATFORM, workspace="w", channel="kitchen", thread="m7", reply_to="m7")
        assert chat.surface.texts(within) == ["Yes?"]
        and_bob = await chat.say("I am Bob.", user="bob", place=Place.THREAD, thread="m7", addressed=False)
        assert and_bob.conversation_id == await conversation(chat, user="", thread="m7")
        await chat.quiet()


# The fake platform calls answers m1, m2 ...; on a real one no two messages have one id, so people's begin at 101 here.


async def test_a_reply_to_an_answer_reaches_its_conversation_whoever_replies() -> None:
    async with chatting("Hello Ada.", "Hello Bob.") as chat:
        await chat.say("I am Ada.", position=101)
        await chat.quiet()
        (answer,) = chat.surface.shown(KITCHEN)
        quote = Quote(author_name="Parley", text="Hello Ada.")
        reply = await chat.say("And I am Bob.", user="bob", position=102, answers=answer.id, quotes=(quote,))
        assert reply.conversation_id == await conversation(chat)
        await chat.quiet()
        # What is replied to stands there already, so it is not quoted.
        assert (await chat.history())[2] == ("user", "And I am Bob.")


async def test_a_reply_to_an_answer_of_an_ended_conversation_begins_anew_with_the_quote() -> None:
    async with chatting("Hello Ada.", "Who?") as chat:
        await chat.say("I am Ada.", position=101)
        await chat.quiet()
        (answer,) = chat.surface.shown(KITCHEN)
        old = await conversation(chat)
        await chat.store.end(old, at=START)
        quote = Quote(author_name="Parley", text="Hello Ada.")
        reply = await chat.say("Who am I?", position=102, answers=answer.id, quotes=(quote,))
        assert reply.conversation_id not in (None, old)
        await chat.quiet()
        assert (await chat.history())[0] == ("user", "> Parley wrote:\n> Hello Ada.\n\nWho am I?")


async def test_a_reply_to_a_message_that_nobody_knows_is_a_message_with_a_quote() -> None:
    async with chatting(working=False) as chat:
        await chat.say("Why?", answers="long ago", quotes=(Quote(author_name="Parley", text="It rained."),))
        assert await chat.history() == [("user", "> Parley wrote:\n> It rained.\n\nWhy?")]


NOTES = FileOffer(name="notes.txt", media_type="text/plain", size=5, url="https://files.example/notes.txt")


async def test_a_message_of_files_alone_is_not_empty() -> None:
    async with chatting(working=False) as chat:
        assert (await chat.say("", files=(NOTES,))).verdict is Verdict.TAKEN
        (message,) = await chat.store.recent(await conversation(chat), 1)
        assert message.text == NO_TEXT
        (file,) = message.attachments
        assert (file.number, file.name, file.size, file.url, file.data) == (1, "notes.txt", 5, NOTES.url, None)


async def test_a_forwarded_message_alone_is_not_empty() -> None:
    async with chatting(working=False) as chat:
        assert (await chat.say("", quotes=(Quote(author_name="", text="News!"),))).verdict is Verdict.TAKEN
        assert await chat.history() == [("user", "> Somebody wrote:\n> News!")]


async def test_the_length_of_a_message_is_that_of_its_authors_own_words() -> None:
    async with chatting(characters=100, working=False) as chat:
        assert (await chat.say("Short.", quotes=(Quote(author_name="Bob", text="x" * 500),))).verdict is Verdict.TAKEN


async def edit(chat: Chat, text: str, position: int, **parts: Any) -> Outcome:
    return await chat.intake.edited(chat.message(text, position=position, **parts))


async def test_an_edit_of_the_last_question_is_answered_anew_in_place() -> None:
    async with chatting("Blue.", "Green.") as chat:
        await chat.say("What colour is the sky?", position=1)
        await chat.quiet()
        assert (await edit(chat, "What colour is the grass?", 1)).verdict is Verdict.REVISED
        await chat.quiet()
        assert await chat.history() == [("user", "What colour is the grass?"), ("assistant", "Green.")]
        assert chat.surface.texts(KITCHEN) == ["Green."]


async def test_an_edit_of_an_older_question_is_kept_and_not_asked() -> None:
    async with chatting("Blue.", "Late.") as chat:
        await chat.say("What colour is the sky?", position=1)
        await chat.quiet()
        await chat.say("How late is it?", position=2)
        await chat.quiet()
        assert (await edit(chat, "What colour is the sea?", 1)).verdict is Verdict.REVISED
        await chat.quiet()
        assert [text for _, text in await chat.history()] == ["What colour is the sea?", "Blue.", "How late is it?", "Late."]


async def test_an_edit_that_changes_nothing_asks_nothing() -> None:
    async with chatting("Blue.") as chat:
        await chat.say("What colour is the sky?", position=1)
        await chat.quiet()
        assert (await edit(chat, "What colour is the sky?", 1)).verdict is Verdict.KNOWN
        assert (await chat.store.status()).queued == 0


async def test_an_edit_of_a_reply_changes_nothing_by_its_quote() -> None:
    async with chatting("Hello Ada.", "Hello Bob.") as chat:
        await chat.say("I am Ada.", position=101)
        await chat.quiet()
        reply = {"answers": chat.surface.shown(KITCHEN)[0].id, "quotes": (Quote(author_name="Parley", text="Hello Ada."),)}
        await chat.say("I am Bob.", user="bob", position=102, **reply)
        await chat.quiet()
        await chat.store.end(await conversation(chat), at=START)
        assert (await edit(chat, "I am Bob.", 102, user="bob", **reply)).verdict is Verdict.KNOWN


async def test_a_mention_that_an_edit_adds_is_an_address() -> None:
    async with chatting(working=False) as chat:
        await chat.say("anybody?", position=1, addressed=False)
        assert (await edit(chat, "anybody there?", 1, addressed=False)).verdict is Verdict.IGNORED
        assert (await edit(chat, "bot?", 1)).verdict is Verdict.TAKEN
        assert await chat.history() == [("user", "bot?")]


async def test_a_refused_message_is_taken_when_it_was_shortened() -> None:
    async with chatting(characters=100, working=False) as chat:
        where = {"position": 1, "place": Place.DIRECT, "addressed": False}
        assert (await chat.say("x" * 101, **where)).verdict is Verdict.REFUSED
        assert (await edit(chat, "x", **where)).verdict is Verdict.TAKEN


@pytest.mark.parametrize(
    ("text", "verdict"), [("", Verdict.IGNORED), ("x" * 101, Verdict.REFUSED), ("a\0b", Verdict.REFUSED)]
)
async def test_an_edit_that_can_not_be_taken_changes_nothing(text: str, verdict: Verdict) -> None:
    async with chatting(characters=100, working=False) as chat:
        await chat.say("What colour is the sky?", position=1)
        outcome = await edit(chat, text, 1)
        assert (outcome.verdict, bool(outcome.notice)) == (verdict, verdict is Verdict.REFUSED)
        assert await chat.history() == [("user", "What colour is the sky?")]


async def test_an_overlong_edit_of_what_was_never_ours_is_nobodys_business() -> None:
    async with chatting(characters=100, working=False) as chat:
        assert await edit(chat, "x" * 101, 1, addressed=False) == Outcome(verdict=Verdict.IGNORED)


async def test_a_bot_that_edits_its_message_does_not_make_us_begin_again() -> None:
    async with chatting("Hm.", rules=Rules(bots=True)) as chat:
        await chat.say("Thinking", user="robot", from_bot=True, position=1)
        await chat.quiet()
        assert (await edit(chat, "Thinking...", 1, user="robot", from_bot=True)).verdict is Verdict.IGNORED
        assert (await chat.store.status()).queued == 0


def named(position: int) -> MessageName:
    return MessageName(platform=PLATFORM, workspace="w", channel="kitchen", id=f"m{position}")


async def test_a_deleted_message_goes_with_its_answer_and_does_not_come_back() -> None:
    async with chatting("I keep it.") as chat:
        await chat.say("A secret.", position=101)
        await chat.quiet()
        await chat.intake.deleted([named(101), named(99)])
        await chat.quiet()
        assert await chat.history() == []
        assert chat.surface.texts(KITCHEN) == []
        assert (await chat.say("A secret.", position=101)).verdict is Verdict.KNOWN
        assert (await edit(chat, "A secret!", 101)).verdict is Verdict.KNOWN
        assert await chat.history() == []


async def test_deleting_what_was_never_ours_is_no_news_to_anybody() -> None:
    async with chatting(working=False) as chat:
        await chat.say("Question", position=1)
        await chat.intake.deleted([named(99)])
        await chat.intake.deleted([])
        assert await chat.history() == [("user", "Question")]


async def test_a_place_that_is_gone_is_closed_and_no_longer_read() -> None:
    async with chatting(working=False) as chat:
        await chat.say("kitchen?")
        await chat.say("garden?", channel="garden")
        marks = [Watermark(workspace="w", channel=name, thread="", position=1) for name in ("kitchen", "garden")]
        await chat.store.mark(PLATFORM, marks, at=START)
        for _ in range(2):
            await chat.intake.gone(PLATFORM, "w", "kitchen", at=START + timedelta(hours=1))
            assert await chat.history() == []
            assert await chat.history(channel="garden") == [("user", "garden?")]
            assert [mark.channel for mark in await chat.store.watermarks(PLATFORM)] == ["garden"]
            assert (await chat.store.status()).queued == 1
        facts = await chat.store.facts(1)
        assert facts is not None
        assert facts.state is TurnState.UNDELIVERABLE


async def test_where_nothing_is_answered_an_edit_is_not_either() -> None:
    async with (
        chatting(working=False) as before,
        chatting(store=before.store, rules=Rules(trigger=Trigger.OFF), working=False) as chat,
    ):
        await before.say("What colour is the see?", position=1)
        assert await edit(chat, "What colour is the sea?", 1) == Outcome(verdict=Verdict.IGNORED)
        assert await chat.history() == [("user", "What colour is the see?")]


def refused(why: Refusal) -> Outcome:
    return Outcome(verdict=Verdict.REFUSED, notice=words.REFUSALS[why], aside=True)


GUEST = Standing(kind=Kind.GUEST)
EXTERNAL = Standing(kind=Kind.EXTERNAL)


@pytest.mark.parametrize(
    ("standing", "why"),
    [(GUEST, Refusal.GUEST), (EXTERNAL, Refusal.EXTERNAL), (UNKNOWN, Refusal.UNKNOWN)],
)
async def test_guests_and_strangers_are_refused_and_nothing_of_them_is_kept(standing: Standing, why: Refusal) -> None:
    async with chatting() as chat:
        assert await chat.say("Hello?", standing=standing) == refused(why)
        assert await chat.history() == []
        await chat.choose("access", "allow", subject="guests")
        await chat.choose("access", "allow", subject="external")
        assert (await chat.say("Hello?", standing=standing)).verdict is Verdict.TAKEN


async def test_who_was_denied_is_refused_before_anything_is_asked_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked(*parts: object) -> None:
        raise AssertionError("the store was asked")

    async with chatting(working=False) as chat:
        await chat.choose("access", "deny", subject="user:eve")
        for call in ("locate", "find", "accept"):
            monkeypatch.setattr(chat.store, call, asked)
        outcome = await chat.say("Hi", user="eve", answers="m1", place=Place.THREAD, thread="t")
        assert outcome == refused(Refusal.DENIED)


async def test_rules_of_groups_channels_and_categories_hold() -> None:
    async with chatting(working=False) as chat:
        cook = replace(MEMBER, groups=frozenset({"cooks"}))
        await chat.choose("access", "deny", subject="people")
        await chat.choose("access", "allow", subject="group:cooks")
        await chat.choose("access", "deny", channel="attic")
        await chat.choose("access", "deny", subject="category:old")
        assert await chat.say("Hi") == refused(Refusal.DENIED)
        assert (await chat.say("Hi", standing=cook)).verdict is Verdict.TAKEN
        assert await chat.say("Hi", standing=cook, channel="attic") == refused(Refusal.CHANNEL)
        assert await chat.say("Hi", standing=cook, channel="cellar", category="old") == refused(Refusal.CHANNEL)


async def test_direct_messages_may_be_off() -> None:
    async with chatting(working=False) as chat:
        await chat.choose("access", "deny", subject="direct")
        outcome = await chat.say("Hi", place=Place.DIRECT, channel="dm", addressed=False)
        assert outcome == refused(Refusal.DIRECT)


async def test_hosts_may_always_speak() -> None:
    async with chatting(working=False, operators=[f"{PLATFORM}:w/olga"]) as chat:
        await chat.choose("access", "deny", subject="user:olga")
        await chat.choose("access", "deny", channel="kitchen")
        assert (await chat.say("Hi", user="olga", standing=UNKNOWN)).verdict is Verdict.TAKEN


async def test_a_person_is_refused_aloud_once_in_ten_minutes_and_channel() -> None:
    async with chatting(working=False) as chat:
        for user in ("eve", "eva"):
            await chat.choose("access", "deny", subject=f"user:{user}")
        silent = Outcome(verdict=Verdict.REFUSED, aside=True)
        assert await chat.say("Hi", user="eve") == refused(Refusal.DENIED)
        assert await chat.say("Hi!", user="eve") == silent
        assert await chat.say("Hi", user="eva") == refused(Refusal.DENIED)
        assert await chat.say("Hi", user="eve", channel="garden") == refused(Refusal.DENIED)
        await chat.clock.advance(NOTICES_EVERY)
        assert await chat.say("Hi!!", user="eve") == refused(Refusal.DENIED)


async def test_replicas_refuse_a_person_aloud_once_and_twice_rather_than_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with chatting(working=False) as here, chatting(store=here.store, clock=here.clock, working=False) as there:
        for user in ("eve", "eva"):
            await here.choose("access", "deny", subject=f"user:{user}")
        await there.rules.load(PLATFORM)
        assert await here.say("Hi", user="eve") == refused(Refusal.DENIED)
        assert await there.say("Hi", user="eve") == Outcome(verdict=Verdict.REFUSED, aside=True)

        async def away(name: str, *, at: datetime) -> bool:
            raise StoreUnavailable("the store is away")

        monkeypatch.setattr(here.store, "once", away)
        assert await here.say("Hi", user="eva") == refused(Refusal.DENIED)
        assert await there.say("Hi", user="eva") == refused(Refusal.DENIED)


async def test_who_speaks_to_others_hears_of_no_refusal() -> None:
    async with chatting(working=False, rules=Rules(trigger=Trigger.LISTEN)) as chat:
        await chat.choose("access", "deny", subject="user:eve")
        assert await chat.say("Bob?", user="eve", addressed=False) == Outcome(verdict=Verdict.IGNORED)


async def test_a_bot_that_is_denied_hears_nothing() -> None:
    async with chatting(working=False, rules=Rules(bots=True)) as chat:
        robot: dict[str, Any] = {"user": "robot", "from_bot": True, "standing": Standing(kind=Kind.BOT)}
        assert (await chat.say("Hello", **robot)).verdict is Verdict.TAKEN
        await chat.choose("access", "deny", subject="user:robot")
        assert await chat.say("Hello", **robot) == Outcome(verdict=Verdict.IGNORED)


async def test_who_may_not_speak_any_more_changes_no_question_but_may_delete_it() -> None:
    async with chatting("Blue.") as chat:
        await chat.say("What colour is the sky?", position=101)
        await chat.quiet()
        await chat.choose("access", "deny", subject="user:ada")
        assert await edit(chat, "What colour is the sea?", 101) == Outcome(verdict=Verdict.IGNORED)
        assert await edit(chat, "bot?", 102) == Outcome(verdict=Verdict.IGNORED)
        assert (await chat.history())[0] == ("user", "What colour is the sky?")
        await chat.intake.deleted([named(101)])
        await chat.quiet()
        assert await chat.history() == []
