"""Laws of keeping: what operators see and people take away, and how long conversations are kept by their choice."""

import pytest

from store import (
    Attachment,
    Charge,
    ConversationFilter,
    ConversationNotFound,
    ConversationState,
    Role,
    Spot,
    Store,
    TurnState,
    UnstorableText,
)
from store.keeping import EXPORT_PAGE, TURNS_SHOWN
from store.values import MESSAGES_COUNTED, SUMMARIES
from tests.contracts.store_words import (
    AT,
    LEASE,
    MINUTE,
    ROOM,
    answer,
    ask,
    message,
    named,
    nothing_to_do,
    read,
    reply,
    room,
    say,
    take,
    texts,
)

NOW = AT + 1000 * MINUTE
ALL = ConversationFilter()


async def listed(store: Store, which: ConversationFilter = ALL, *, workspace: str = "T1", limit: int = 100) -> list[int]:
    """List ids, page by page."""
    ids: list[int] = []
    before = None
    while page := await store.conversations("slack", workspace, which, limit=limit, before=before):
        assert len(page) <= limit
        ids += [summary.conversation.id for summary in page]
        before = ids[-1]
    return ids


async def expire_all(store: Store) -> None:
    await store.expire(before=NOW, at=NOW, limit=100)


class ListLaws:
    """What operators see of a workspace's conversations."""

    async def test_the_conversations_of_a_workspace_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        ids = [await say(store, "hello", key=room(f"C{n % 3}", thread=f"{n}")) for n in range(7)]
        await say(store, "foreign", key=room("C1", workspace="T2"))
        for limit in (1, 2, 7, 100):
            assert await listed(store, limit=limit) == ids[::-1]

    async def test_a_conversation_of_another_workspace_or_platform_is_not_there(self, store: Store) -> None:
        id_ = await say(store, "hello")
        assert await listed(store, workspace="T2") == []
        assert await store.conversations("discord", "T1", ALL, limit=9) == ()
        assert await store.record("slack", "T2", id_) is None
        assert await store.record("discord", "T1", id_) is None
        assert not await store.expire_now("slack", "T2", id_, at=NOW)
        await answer(store)
        await expire_all(store)
        assert not await store.restore("slack", "T2", id_, at=NOW)
        assert await store.restore("slack", "T1", id_, at=NOW)

    async def test_a_list_is_of_one_channel_with_its_threads(self, store: Store) -> None:
        ids = [await say(store, "hello", key=key) for key in (room("C1"), room("C2"), room("C1", thread="1"))]
        assert await listed(store, ConversationFilter(channel="C1")) == [ids[2], ids[0]]
        assert await listed(store, ConversationFilter(channel="C")) == []

    async def test_a_list_is_of_one_user_by_the_key_or_by_what_they_said(self, store: Store) -> None:
        own = await say(store, "mine", key=room("C1", user="U-Ann"))
        spoke = await say(store, "in a thread", key=room("C1", thread="1"))
        await store.accept(message("hers", key=room("C2", thread="2"), author="Bob"))
        other = await say(store, "elsewhere", key=room("C1", user="U-Ann", workspace="T2"))
        assert await listed(store, ConversationFilter(user="U-Ann")) == [spoke, own]
        assert await listed(store, ConversationFilter(user="U-Ann"), workspace="T2") == [other]
        assert await listed(store, ConversationFilter(user="U-Ann", channel="C2")) == []
        assert await listed(store, ConversationFilter(user="U-Zoe")) == []

    async def test_a_list_is_of_one_state(self, store: Store) -> None:
        expired = await say(store, "expired", key=room("C1"))
        await answer(store)
        await expire_all(store)
        ended = await say(store, "ended", key=room("C2"))
        await store.end(ended, at=AT)
        current = await say(store, "current", key=room("C3"))
        for state, id_ in zip(ConversationState, (current, ended, expired), strict=True):
            assert await listed(store, ConversationFilter(state=state)) == [id_]
        assert await listed(store, ConversationFilter(state=ConversationState.ENDED, channel="C3")) == []
        assert await listed(store) == [current, ended, expired]

    async def test_a_summary_counts_messages_up_to_many(self, store: Store) -> None:
        conversation = await store.get_or_create(ROOM, at=AT)
        for _ in range(3):
            await store.append(conversation.id, Role.USER, "x", at=AT)
        (summary,) = await store.conversations("slack", "T1", ALL, limit=1)
        assert (summary.messages, summary.conversation) == (3, await store.find(ROOM))
        assert MESSAGES_COUNTED > 3

    @pytest.mark.parametrize("limit", [0, -1, SUMMARIES + 1])
    async def test_a_page_has_its_size(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError):
            await store.conversations("slack", "T1", ALL, limit=limit)


class RecordLaws:
    """What operators see of one conversation."""

    async def test_a_record_tells_how_its_turns_went(self, store: Store) -> None:
        id_ = await say(store, "one", "two")
        claim = await take(store)
        await store.record_part(claim.hold, 0, "P1")
        await store.record_part(claim.hold, 1, "P2")
        charge = Charge(author_id="U-Ann", prompt_tokens=11, completion_tokens=7, money=1234)
        await store.finish(claim.hold, reply("to both"), charge=charge)
        await store.settle(claim.hold, TurnState.DONE)
        await store.accept(message("three", author="Bob"))
        failed = await take(store)
        await store.finish(failed.hold, None, error="model_down")
        await store.settle(failed.hold, TurnState.FAILED)
        await say(store, "four")
        record = await store.record("slack", "T1", id_)
        assert record is not None
        assert record.conversation == await store.find(ROOM)
        assert (record.messages, sorted(record.people)) == (5, ["U-Ann", "U-Bob"])
        queued, second, first = record.turns
        assert (queued.state, queued.attempts, queued.started_at, queued.settled_at) == (TurnState.QUEUED, 0, None, None)
        assert (second.state, second.error, second.messages, second.parts) == (TurnState.FAILED, "model_down", 1, 0)
        assert (first.id, first.state, first.attempts, first.messages) == (claim.turn.id, TurnState.DONE, 1, 2)
        assert (first.parts, first.model) == (2, "m-1")
        assert (first.prompt_tokens, first.completion_tokens, first.money) == (11, 7, 1234)
        assert first.settled_at is not None
        assert first.started_at is not None
        assert first.started_at <= first.settled_at

    async def test_a_record_has_the_newest_turns(self, store: Store) -> None:
        for n in range(TURNS_SHOWN + 2):
            id_ = await say(store, f"{n}")
            last = await answer(store)
        record = await store.record("slack", "T1", id_)
        assert record is not None
        assert len(record.turns) == TURNS_SHOWN
        assert record.turns[0].id == last.turn.id
        assert [turn.id for turn in record.turns] == sorted((turn.id for turn in record.turns), reverse=True)

    async def test_the_person_of_a_key_is_among_the_people_once_they_spoke(self, store: Store) -> None:
        key = room("C1", user="U-Ann")
        conversation = await store.get_or_create(key, at=AT)
        for people in ((), ("U-Ann",)):
            record = await store.record("slack", "T1", conversation.id)
            assert record is not None
            assert record.people == people
            await say(store, "hello", key=key)

    async def test_nothing_is_told_of_what_is_not_there(self, store: Store) -> None:
        assert await store.record("slack", "T1", 404) is None


class ExpireNowLaws:
    """Ending by hand, and taking it back."""

    async def test_a_conversation_expires_by_hand_and_is_purged(self, store: Store) -> None:
        id_ = await say(store, "hello")
        await answer(store)
        assert await store.expire_now("slack", "T1", id_, at=NOW)
        assert not await store.expire_now("slack", "T1", id_, at=NOW)
        assert await store.find(ROOM) is None
        assert await read(store, id_) == ["hello", "hi"]
        assert await store.purge(before=NOW, limit=10) == 0
        assert await store.purge(before=NOW + MINUTE, limit=10) > 0
        with pytest.raises(ConversationNotFound):
            await store.recent(id_, 1)
        assert not await store.restore("slack", "T1", id_, at=NOW)

    async def test_what_is_open_ends_with_it(self, store: Store) -> None:
        id_ = await say(store, "running")
        claim = await take(store)
        await say(store, "queued")
        assert await store.expire_now("slack", "T1", id_, at=NOW)
        assert (await store.renew(claim.hold, lease=LEASE)).stop
        await store.settle(claim.hold, TurnState.CANCELLED)
        assert await nothing_to_do(store)
        assert not await store.retry(id_)

    async def test_what_is_not_there_does_not_expire(self, store: Store) -> None:
        assert not await store.expire_now("slack", "T1", 404, at=NOW)
        assert not await store.restore("slack", "T1", 404, at=NOW)

    async def test_a_restored_conversation_goes_on_and_its_time_begins_anew(self, store: Store) -> None:
        id_ = await say(store, "hello")
        await answer(store)
        await expire_all(store)
        assert await store.restore("slack", "T1", id_, at=NOW + MINUTE)
        assert not await store.restore("slack", "T1", id_, at=NOW + MINUTE)
        found = await store.find(ROOM)
        assert found is not None
        assert (found.id, found.active_at, found.ended_at, found.expired_at) == (id_, NOW + MINUTE, None, None)
        assert await say(store, "again") == id_
        await answer(store)
        assert (await store.expire(before=NOW + MINUTE, at=NOW, limit=9)).expired == 0
        assert await store.purge(before=NOW + 2 * MINUTE, limit=9) == 0

    async def test_a_restored_conversation_is_not_current_where_another_was_begun(self, store: Store) -> None:
        old = await say(store, "hello")
        await store.expire_now("slack", "T1", old, at=NOW)
        new = await say(store, "good morning")
        assert await store.restore("slack", "T1", old, at=NOW)
        found = await store.find(ROOM)
        assert found is not None
        assert found.id == new
        await store.end(new, at=NOW)
        assert await store.find(ROOM) is None

    @pytest.mark.parametrize("by_hand", [True, False])
    async def test_what_people_ended_is_restored_as_ended(self, store: Store, by_hand: bool) -> None:
        """Also when both happened at one moment."""
        id_ = await say(store, "hello")
        await answer(store)
        await store.end(id_, at=NOW)
        if by_hand:
            await store.expire_now("slack", "T1", id_, at=NOW)
        else:
            await store.expire(before=NOW, at=NOW, limit=9, within=Spot(platform="slack", workspace="T1"))
        assert await store.restore("slack", "T1", id_, at=NOW)
        assert await store.find(ROOM) is None
        record = await store.record("slack", "T1", id_)
        assert record is not None
        assert record.conversation.expired_at is None


class ExtendLaws:
    """Time that begins anew."""

    async def test_an_extended_conversation_is_kept_for_its_time_again(self, store: Store) -> None:
        id_ = await say(store, "hello")
        await answer(store)
        await store.extend(id_, at=AT + 9 * MINUTE)
        await store.extend(id_, at=AT)
        assert (await store.expire(before=AT + 9 * MINUTE, at=NOW, limit=9)).expired == 0
        assert (await store.expire(before=AT + 10 * MINUTE, at=NOW, limit=9)).expired == 1

    async def test_what_has_expired_or_is_not_there_is_not_extended(self, store: Store) -> None:
        id_ = await say(store, "hello")
        await answer(store)
        await expire_all(store)
        for gone in (id_, 404):
            with pytest.raises(ConversationNotFound):
                await store.extend(gone, at=NOW)


class PersonaLaws:
    """What people choose for a conversation."""

    async def test_a_persona_is_the_conversations_and_comes_with_every_claim(self, store: Store) -> None:
        id_ = await say(store, "hello")
        await say(store, "elsewhere", key=room("C2"))
        await store.put_persona(id_, "a pirate")
        found = await store.find(ROOM)
        assert found is not None
        assert found.persona == "a pirate"
        assert [(await take(store)).persona for _ in range(2)] == ["a pirate", ""]
        key = room("C3")
        await store.put_persona((await store.get_or_create(key, at=AT)).id, "a poet")
        accepted = await store.accept_and_claim(message("at once", key=key), lease=LEASE, window=9)
        assert accepted is not None
        assert accepted.claim is not None
        assert accepted.claim.persona == "a poet"

    async def test_the_last_persona_counts_and_an_empty_one_is_none(self, store: Store) -> None:
        id_ = await say(store, "hello")
        for persona in ("a pirate", "\U0001f9d9 of the Alps", ""):
            await store.put_persona(id_, persona)
            found = await store.find(ROOM)
            assert found is not None
            assert found.persona == persona
        await store.end(id_, at=AT)
        assert (await store.get_or_create(ROOM, at=AT)).persona == ""

    async def test_a_persona_needs_a_conversation_and_valid_text(self, store: Store) -> None:
        with pytest.raises(ConversationNotFound):
            await store.put_persona(404, "a pirate")
        id_ = await say(store, "hello")
        await store.put_persona(id_, "a pirate")
        with pytest.raises(UnstorableText):
            await store.put_persona(id_, "a\0b")
        assert (await store.get_or_create(ROOM, at=AT)).persona == "a pirate"


class LastSaidLaws:
    """What an author may take back."""

    async def test_it_is_what_the_last_turn_answers_and_what_waits(self, store: Store) -> None:
        id_ = await ask(store, "one", "M-1")
        assert await store.last_said(id_, "U-Ann") == (named("M-1"),)
        await answer(store)
        assert await store.last_said(id_, "U-Ann") == (named("M-1"),)
        await ask(store, "two", "M-2")
        await ask(store, "three", "M-3")
        assert await store.last_said(id_, "U-Ann") == (named("M-2"), named("M-3"))

    async def test_what_others_said_is_not_named(self, store: Store) -> None:
        id_ = await ask(store, "one", "M-1")
        await store.accept(message("two", author="Bob", message_id="M-2"))
        assert await store.last_said(id_, "U-Bob") == (named("M-2"),)
        await answer(store)
        await store.accept(message("three", author="Bob", message_id="M-3"))
        assert await store.last_said(id_, "U-Ann") == ()

    async def test_what_waits_behind_a_full_turn_is_named_too(self, store: Store) -> None:
        for n in range(25):
            id_ = await ask(store, f"{n}", f"M-{n}")
        assert await store.last_said(id_, "U-Ann") == tuple(named(f"M-{n}") for n in range(25))

    async def test_a_turn_without_messages_is_none(self, store: Store) -> None:
        id_ = await ask(store, "one", "M-1")
        await answer(store, post="P")
        await ask(store, "two", "M-2")
        await answer(store, post="Q")
        await store.retract([named("M-2")])
        assert await store.last_said(id_, "U-Ann") == (named("M-1"),)
        await store.retract([named("M-1")])
        assert await store.last_said(id_, "U-Ann") == ()

    async def test_nothing_is_named_where_nothing_is(self, store: Store) -> None:
        assert await store.last_said(404, "U-Ann") == ()


class ExportLaws:
    """What people take away."""

    async def test_all_conversations_with_a_person_are_handed_out_in_the_order_of_their_ids(self, store: Store) -> None:
        own = await say(store, "mine", key=room("C1", user="U-Ann"))
        await answer(store)
        await expire_all(store)
        spoke = await say(store, "in a thread", key=room("C1", thread="1"))
        await store.end(spoke, at=AT)
        await store.accept(message("his", key=room("C2"), author="Bob"))
        await say(store, "elsewhere", key=room("C9", workspace="T2"))
        found = await store.conversations_with("slack", "T1", "U-Ann", limit=9)
        assert [conversation.id for conversation in found] == [own, spoke]
        assert found[0].expired_at is not None
        assert await store.conversations_with("slack", "T1", "U-Ann", limit=1) == found[:1]
        assert await store.conversations_with("slack", "T1", "U-Ann", limit=1, after=own) == found[1:]
        assert await store.conversations_with("slack", "T1", "U-Ann", limit=1, after=spoke) == ()

    async def test_a_conversation_of_ones_own_is_handed_out_whole(self, store: Store) -> None:
        id_ = await say(store, "one")
        await answer(store, "to one")
        await store.append(id_, Role.ASSISTANT, "by the way", at=AT)
        assert texts(await store.said_in(id_, "U-Ann", limit=9)) == ["one", "to one", "by the way"]

    async def test_of_a_shared_one_come_what_the_person_said_and_the_answers_to_that(self, store: Store) -> None:
        id_ = await say(store, "Ann's own")
        await answer(store, "to Ann")
        await store.accept(message("Bob's own", author="Bob"))
        await answer(store, "to Bob")
        await store.accept(message("Bob's part", author="Bob"))
        await say(store, "Ann's part")
        await answer(store, "to both")
        share = await store.said_in(id_, "U-Ann", limit=9)
        assert texts(share) == ["Ann's own", "to Ann", "Ann's part", "to both"]
        assert texts(await store.said_in(id_, "U-Bob", limit=9)) == ["Bob's own", "to Bob", "Bob's part", "to both"]
        assert await store.said_in(id_, "U-Zoe", limit=9) == ()
        paged, after = [], 0
        while page := await store.said_in(id_, "U-Ann", limit=1, after=after):
            paged += page
            after = page[-1].id
        assert tuple(paged) == share

    async def test_a_conversation_of_another_ones_key_is_not_handed_out(self, store: Store) -> None:
        id_ = await say(store, "mine", key=room("C1", user="U-Ann"))
        assert await store.said_in(id_, "U-Bob", limit=9) == ()
        assert await store.said_in(404, "U-Ann", limit=9) == ()

    async def test_messages_come_with_all_their_files(self, store: Store) -> None:
        files = tuple(
            Attachment(number=n, name=f"{n}.png", media_type="image/png", size=300_000, url="u", data=b"%d" % n * 300_000)
            for n in range(6)
        )
        id_ = await store.accept(message("look", attachments=files))
        assert id_ is not None
        (kept,) = await store.said_in(id_, "U-Ann", limit=9)
        assert kept.attachments == files

    @pytest.mark.parametrize("limit", [0, -1, EXPORT_PAGE + 1])
    async def test_an_export_has_its_size_and_its_person(self, store: Store, limit: int) -> None:
        for call in (
            store.conversations_with("slack", "T1", "U-Ann", limit=limit),
            store.conversations_with("slack", "T1", "", limit=1),
            store.said_in(1, "U-Ann", limit=limit),
        ):
            with pytest.raises(ValueError):
                await call
