"""Laws of the whole store: any text comes back, a cancelled call did all or nothing, closing is final."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import (
    AuditEntry,
    ConversationFilter,
    ConversationKey,
    Days,
    Feedback,
    Installation,
    Role,
    Setting,
    Store,
    StoreClosed,
    TurnState,
    UnstorableText,
    UsageBy,
)
from store.values import KEY_PART_LENGTH
from tests.contracts.store_words import (
    AT,
    FENCED,
    LEASE,
    ROOM,
    Reopen,
    answer,
    message,
    named,
    nothing_to_do,
    read,
    reply,
    room,
    say,
    take,
)

STORABLE = st.characters(codec="utf-8", exclude_characters="\0")
ANY_TEXT = st.text(STORABLE, max_size=200)
ANY_PART = st.text(STORABLE, min_size=1, max_size=40)


class TextLaws:
    """Any valid Unicode comes back unchanged; NUL and lone surrogates are refused."""

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(text=ANY_TEXT, name=ANY_TEXT, said=ANY_TEXT, part=ANY_PART)
    async def test_any_valid_text_comes_back_unchanged(
        self, store: Store, text: str, name: str, said: str, part: str
    ) -> None:
        key = ConversationKey(platform="slack", workspace=part, channel=part, thread=part, user=part)
        conversation_id = await store.accept(message(text, key=key, author=name, address=part))
        assert conversation_id is not None
        claim = await take(store)
        await store.record_part(claim.hold, 0, part)
        await store.finish(claim.hold, reply(said))
        await store.release(claim.hold)
        again = await take(store)
        assert (again.key, again.answer, again.turn.address, dict(again.parts)) == (key, reply(said), part, {0: part})
        asked, answered = await store.recent(conversation_id, 2)
        assert (asked.text, asked.author_name, answered.text) == (text, name, said)
        assert (await store.append(conversation_id, Role.ASSISTANT, text, at=AT)).text == text
        await store.delete(conversation_id)

    @pytest.mark.parametrize(
        "text",
        [
            "\u202eright to left\u202c",
            "\U0001f469\u200d\U0001f469\u200d\U0001f467 " * 10_000,
            "e\u0301 is not \u00e9",
            "Z\u0351\u036b\u0343a\u0329l\u0348g\u0347o" * 100,
            "'; DROP TABLE message; --",
            "a\r\nb\rc\nd\te",
            "\ufeff\ufffe\uffff\U0010ffff",
            " ",
            "x" * 2_000_000,
        ],
        ids=["rtl override", "emoji", "combining", "zalgo", "sql", "line ends", "last characters", "blank", "2 MB"],
    )
    async def test_strange_texts_come_back_unchanged(self, store: Store, text: str) -> None:
        conversation_id = await say(store, text)
        await answer(store, text)
        assert await read(store, conversation_id) == [text, text]

    @pytest.mark.parametrize("bad", ["a\0b", "\ud800", "\udfff tail", "ok \ud83d"])
    async def test_append_refuses_what_can_not_be_stored(self, store: Store, bad: str) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        with pytest.raises(UnstorableText):
            await store.append(conversation.id, Role.USER, bad, at=AT)
        assert await store.recent(conversation.id, 1) == ()

    @pytest.mark.parametrize("part", ["platform", "workspace", "channel", "thread", "user"])
    def test_a_key_refuses_what_can_not_be_stored(self, part: str) -> None:
        whole = {"platform": "slack", "workspace": "", "channel": "C1", "thread": "", "user": ""}
        for bad in ("a\0b", "\ud800", "x" * (KEY_PART_LENGTH + 1)):
            with pytest.raises(ValueError):
                ConversationKey(**{**whole, part: bad})
        assert ConversationKey(**{**whole, part: "\U0001f600" * KEY_PART_LENGTH})

    def test_a_key_has_a_platform(self) -> None:
        with pytest.raises(ValueError, match="platform"):
            ConversationKey(platform="", channel="C1")

    async def test_a_key_of_the_longest_parts_is_found_again(self, store: Store) -> None:
        long = "\U0001f600" * KEY_PART_LENGTH
        key = ConversationKey(platform=long, workspace=long, channel=long, thread=long, user=long)
        assert (await store.get_or_create(key, at=AT)) == await store.find(key)


class CancellationLaws:
    """A cancelled call did all or nothing, and those that follow are not touched by it."""

    @pytest.mark.parametrize("seed", range(10))
    async def test_a_cancelled_accept_did_all_or_nothing(self, store: Store, seed: int) -> None:
        chance = random.Random(seed)
        given_messages = [message(f"{n}", position=n + 1) for n in range(60)]
        for start in range(0, 60, 6):
            tasks = [asyncio.create_task(store.accept(given)) for given in given_messages[start : start + 6]]
            for _ in range(chance.choice([0, 1, 2, 3, 5, 10, 50, 200])):
                await asyncio.sleep(0)
            for task in tasks:
                if chance.random() < 0.7:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            whole = message("kept", position=1000 + start)
            assert await store.accept(whole) is not None
            assert await store.accept(whole) is None
        conversation = await store.find(ROOM)
        assert conversation is not None
        kept = {int(text) for text in await read(store, conversation.id) if text != "kept"}
        missing = [await store.accept(given) for given in given_messages]
        assert {n for n, conversation_id in enumerate(missing) if conversation_id is None} == kept
        assert sorted(int(text) for text in await read(store, conversation.id) if text != "kept") == list(range(60))

    @pytest.mark.parametrize("seed", range(10))
    async def test_a_cancelled_turn_can_be_carried_on_by_another(self, store: Store, seed: int) -> None:
        chance = random.Random(seed)
        for n in range(10):
            conversation_id = await say(store, "hello", key=room(f"{n}"))
            task = asyncio.create_task(answer(store, "hi"))
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.check()
            history = await read(store, conversation_id)
            assert history in (["hello"], ["hello", "hi"])
            status = await store.status()
            assert status.queued + status.running <= n + 1
            stopped = await store.stop(conversation_id)
            assert (stopped.queued is None) or (stopped.running is None)
            await store.delete(conversation_id)
        assert (await store.status()).running == 0

    async def test_calls_cancelled_before_they_began_did_nothing(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        tasks = [asyncio.create_task(store.append(conversation.id, Role.USER, f"{n}", at=AT)) for n in range(20)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await read(store, conversation.id) == []
        await store.append(conversation.id, Role.USER, "after", at=AT)
        assert await read(store, conversation.id) == ["after"]


SETTING = Setting(platform="slack", workspace="T1", channel="C1", name="scope", value="channel")
ENTRY = AuditEntry(platform="slack", workspace="T1", channel="C1", author_id="U-Ann", action="status", at=AT)
DAYS = Days(first=AT.date(), last=AT.date())
INSTALLATION = Installation(platform="slack", workspace="T1", data=b"sealed", at=AT)
CALLS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "get_or_create": lambda store: store.get_or_create(ROOM, at=AT),
    "find": lambda store: store.find(ROOM),
    "append": lambda store: store.append(1, Role.USER, "x", at=AT),
    "recent": lambda store: store.recent(1, 1),
    "accept": lambda store: store.accept(message()),
    "accept_and_claim": lambda store: store.accept_and_claim(message(), lease=LEASE, window=1),
    "claim": lambda store: store.claim(lease=LEASE, window=1, platforms=["slack"]),
    "stop": lambda store: store.stop(1),
    "retry": lambda store: store.retry(1),
    "busy": lambda store: store.busy(1),
    "locate": lambda store: store.locate(named("1")),
    "facts": lambda store: store.facts(1),
    "revise": lambda store: store.revise(named("1"), "x"),
    "retract": lambda store: store.retract([named("1")]),
    "close": lambda store: store.close("slack", "T1", at=AT),
    "watermarks": lambda store: store.watermarks("slack"),
    "mark": lambda store: store.mark("slack", [], at=AT),
    "unmark": lambda store: store.unmark("slack", "T1"),
    "settings": lambda store: store.settings("slack"),
    "put_setting": lambda store: store.put_setting(SETTING, author_id="U-Ann", at=AT),
    "settings_version": lambda store: store.settings_version(),
    "audit": lambda store: store.audit(ENTRY),
    "audit_log": lambda store: store.audit_log("slack", "T1", limit=1),
    "forget_audit": lambda store: store.forget_audit(before=AT, limit=1),
    "standing": lambda store: store.standing("slack", "T1", "C1", "U1"),
    "usage": lambda store: store.usage("slack", "T1", by=UsageBy.DAY, days=DAYS, limit=1),
    "forget_usage": lambda store: store.forget_usage(before=AT, limit=1),
    "running_in": lambda store: store.running_in("slack", ["T1"]),
    "put_feedback": lambda store: store.put_feedback(1, "U1", Feedback.GOOD, at=AT),
    "conversations_of": lambda store: store.conversations_of("slack", "T1", "U1", limit=1),
    "put_installation": lambda store: store.put_installation(INSTALLATION),
    "installations": lambda store: store.installations("slack"),
    "remove_installation": lambda store: store.remove_installation("slack", "T1", ""),
    "purge_workspace": lambda store: store.purge_workspace("slack", "T1"),
    "conversations": lambda store: store.conversations("slack", "T1", ConversationFilter(), limit=1),
    "record": lambda store: store.record("slack", "T1", 1),
    "expire_now": lambda store: store.expire_now("slack", "T1", 1, at=AT),
    "restore": lambda store: store.restore("slack", "T1", 1, at=AT),
    "extend": lambda store: store.extend(1, at=AT),
    "put_persona": lambda store: store.put_persona(1, "x"),
    "last_said": lambda store: store.last_said(1, "U1"),
    "conversations_with": lambda store: store.conversations_with("slack", "T1", "U1", limit=1),
    "said_in": lambda store: store.said_in(1, "U1", limit=1),
    "forget_person": lambda store: store.forget_person("slack", "T1", "U1", at=AT),
    "scrub": lambda store: store.scrub(),
    "once": lambda store: store.once("x", at=AT),
    "recall": lambda store: store.recall("x"),
    "remember": lambda store: store.remember("x", "y"),
    "end": lambda store: store.end(1, at=AT),
    "delete": lambda store: store.delete(1),
    "expire": lambda store: store.expire(before=AT, at=AT, limit=1),
    "purge": lambda store: store.purge(before=AT, limit=1),
    "forget_events": lambda store: store.forget_events(before=AT, limit=1),
    "status": lambda store: store.status(),
    "server_time": lambda store: store.server_time(),
    "check": lambda store: store.check(),
}


class CloseLaws:
    """Closing finishes what was begun, and is final."""

    async def test_closing_twice_is_no_error(self, store: Store) -> None:
        await store.aclose()
        await store.aclose()

    async def test_closing_at_once_from_two_sides_is_no_error(self, store: Store) -> None:
        await asyncio.gather(store.aclose(), store.aclose())

    @pytest.mark.parametrize("call", CALLS)
    async def test_a_closed_store_says_so(self, store: Store, call: str) -> None:
        await store.aclose()
        with pytest.raises(StoreClosed):
            await CALLS[call](store)

    @pytest.mark.parametrize("call", FENCED)
    async def test_a_closed_store_says_so_to_a_holder(self, store: Store, call: str) -> None:
        await say(store, "hello")
        claim = await take(store)
        await store.aclose()
        with pytest.raises(StoreClosed):
            await FENCED[call](store, claim.hold)

    async def test_what_was_begun_before_closing_is_finished(self, store: Store) -> None:
        calls = [asyncio.create_task(store.accept(message(f"{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        await store.aclose()
        assert None not in await asyncio.gather(*calls)

    async def test_deleting_while_it_closes_does_all_or_nothing(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        deleting = asyncio.create_task(store.delete(conversation_id))
        await asyncio.sleep(0)
        await store.aclose()
        assert await deleting == 1


class DurableLaws:
    """What was committed is there after closing and opening again."""

    async def test_everything_is_there_after_reopening(self, store: Store, reopen: Reopen) -> None:
        conversation_id = await say(store, "one")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "post 0")
        await store.finish(claim.hold, reply("to one"))
        await store.release(claim.hold)
        await say(store, "two")
        before = await store.recent(conversation_id, 10)
        store = await reopen()
        assert await store.recent(conversation_id, 10) == before
        again = await take(store)
        assert (again.turn.id, again.turn.state, again.turn.attempts) == (claim.turn.id, TurnState.DELIVERING, 1)
        assert (again.answer, dict(again.parts)) == (reply("to one"), {0: "post 0"})
        await store.settle(again.hold, TurnState.DONE)
        assert [m.text for m in (await take(store)).window] == ["one", "to one", "two"]

    async def test_an_event_is_known_after_reopening(self, store: Store, reopen: Reopen) -> None:
        event = message("hello")
        conversation_id = await store.accept(event)
        assert conversation_id is not None
        store = await reopen()
        assert await store.accept(event) is None
        assert await store.accept(message("hello", message_id=event.message_id)) is None
        assert await read(store, conversation_id) == ["hello"]
        await answer(store)
        assert await nothing_to_do(store)

    async def test_what_was_begun_before_closing_is_there_after_it(self, store: Store, reopen: Reopen) -> None:
        calls = [asyncio.create_task(store.accept(message(f"{n}"))) for n in range(50)]
        await asyncio.sleep(0)
        store = await reopen()
        (conversation_id,) = set(await asyncio.gather(*calls))
        assert len(await read(store, conversation_id)) == 50

    @pytest.mark.parametrize("seed", range(5))
    async def test_cancelled_writes_are_there_or_not_after_reopening(self, store: Store, reopen: Reopen, seed: int) -> None:
        chance = random.Random(seed)
        conversation = await store.get_or_create(ROOM, at=AT)
        returned: set[str] = set()

        async def write(text: str) -> None:
            returned.add((await store.append(conversation.id, Role.USER, text, at=AT)).text)

        for n in range(30):
            task = asyncio.create_task(write(f"{n}"))
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            task.cancel()
            await write(f"after {n}")
        before = await read(store, conversation.id)
        assert returned <= set(before)
        store = await reopen()
        assert await read(store, conversation.id) == before
        assert len(before) == len(set(before))

    async def test_ids_are_not_given_again_after_reopening(self, store: Store, reopen: Reopen) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        await store.delete(conversation_id)
        store = await reopen()
        assert await say(store, "hello") > conversation_id
        assert (await take(store)).turn.id > claim.turn.id
