"""Laws of places: what happens when one is gone, how far it was read, what operators chose for it, and notes."""

import pytest

from store import ConversationKey, Setting, Store, UnstorableText, Watermark
from tests.contracts.store_words import (
    AT,
    LEASE,
    MINUTE,
    ROOM,
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

NOW = AT + 1000 * MINUTE
PLACES = [
    room("C1"),
    room("C1", user="U1"),
    room("C1", thread="t1"),
    room("C1", thread="t2"),
    room("C2"),
    room("C2", thread="t1"),
    room("C1", workspace="T2"),
    room("C1", platform="discord"),
    room("D1", workspace=""),
]


class PlaceLaws:
    """A workspace, a channel or a thread that is gone takes its conversations along, and no others."""

    @pytest.mark.parametrize(
        ("gone", "closed"),
        [
            (("slack", "T1"), PLACES[:6]),
            (("slack", "T1", "C1"), PLACES[:4]),
            (("slack", "T1", "C1", "t1"), PLACES[2:3]),
            (("slack", "", "D1"), PLACES[8:]),
            (("slack", "T1", "C3"), []),
            (("slack", "T3"), []),
        ],
        ids=["a workspace", "a channel", "a thread", "a direct message", "another channel", "another workspace"],
    )
    async def test_a_place_that_is_gone_ends_its_conversations(
        self, store: Store, gone: tuple[str, ...], closed: list[ConversationKey]
    ) -> None:
        ids = {key: (await store.get_or_create(key, at=AT)).id for key in PLACES}
        assert await store.close(*gone, at=NOW) == tuple(ids[key] for key in closed)
        assert [key for key in PLACES if await store.find(key) is None] == closed
        assert await store.close(*gone, at=NOW) == (), "it may be said twice"

    async def test_what_was_queued_there_is_undeliverable(self, store: Store) -> None:
        conversation_id = await say(store, *[f"{n}" for n in range(25)])
        await say(store, "elsewhere", key=room("C2"))
        await store.close("slack", "T1", "C1", at=NOW)
        assert (await take(store)).key == room("C2")
        assert await nothing_to_do(store)
        assert not await store.busy(conversation_id)
        assert len(await read(store, conversation_id)) == 25

    async def test_what_is_queued_in_a_conversation_that_had_ended_is_undeliverable_too(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        await store.end(conversation_id, at=AT)
        assert await store.close("slack", "T1", at=NOW) == ()
        assert await nothing_to_do(store)

    async def test_what_runs_there_is_left_to_its_holder(self, store: Store) -> None:
        conversation_id = await say(store, "hello")
        claim = await take(store)
        assert await store.close("slack", "T1", "C1", at=NOW) == (conversation_id,)
        assert not (await store.renew(claim.hold, lease=LEASE)).stop
        assert await store.finish(claim.hold, reply("hi"))
        assert await read(store, conversation_id) == ["hello", "hi"]

    async def test_a_place_that_is_back_begins_anew(self, store: Store) -> None:
        old = await say(store, "hello")
        await store.close("slack", "T1", "C1", at=NOW)
        new = await say(store, "hello again")
        assert new != old
        assert await read(store, new) == ["hello again"]
        located = await store.locate(named("nobody's"))
        assert located is None

    async def test_a_place_is_closed_at_the_time_that_is_given(self, store: Store) -> None:
        await store.accept(message("hello", message_id="M-1"))
        await store.close("slack", "T1", at=NOW)
        located = await store.locate(named("M-1"))
        assert located is not None
        assert located.conversation.ended_at == NOW

    async def test_no_part_at_all_is_refused(self, store: Store) -> None:
        direct = await say(store, "hello", key=room("D1", workspace=""))
        await store.mark("slack", [mark("", "D1", "", 7)], at=AT)
        with pytest.raises(ValueError, match="place"):
            await store.close("slack", "", at=NOW)
        with pytest.raises(ValueError, match="place"):
            await store.unmark("slack", "")
        assert await store.busy(direct)
        assert len(await store.watermarks("slack")) == 1


def mark(workspace: str, channel: str, thread: str, position: int) -> Watermark:
    return Watermark(workspace=workspace, channel=channel, thread=thread, position=position)


class WatermarkLaws:
    """How far a place was read, for ever or until it is gone."""

    async def test_marks_come_back_the_furthest_first(self, store: Store) -> None:
        marks = [mark("T1", "C1", "", 20), mark("T1", "C1", "t1", 1 << 62), mark("", "D1", "", 5), mark("T1", "", "", 30)]
        assert await store.watermarks("slack") == ()
        await store.mark("slack", marks, at=AT)
        assert await store.watermarks("slack") == (marks[1], marks[3], marks[0], marks[2])
        assert await store.watermarks("discord") == ()

    async def test_a_mark_never_goes_back(self, store: Store) -> None:
        for position in (10, 30, 20):
            await store.mark("slack", [mark("T1", "C1", "", position)], at=AT)
        await store.mark("slack", [], at=AT)
        assert await store.watermarks("slack") == (mark("T1", "C1", "", 30),)

    async def test_of_two_marks_at_once_the_further_counts(self, store: Store) -> None:
        await store.mark("slack", [mark("T1", "C1", "", 30), mark("T1", "C1", "", 10)], at=AT)
        assert await store.watermarks("slack") == (mark("T1", "C1", "", 30),)

    @pytest.mark.parametrize(
        ("gone", "left"),
        [
            (("slack", "T1"), {"D1", "T2"}),
            (("slack", "T1", "C1"), {"D1", "T2", "C2", "C2/t1", "T1"}),
            (("slack", "T1", "C1", "t1"), {"D1", "T2", "C1", "C2", "C2/t1", "T1"}),
            (("slack", "", "D1"), {"T2", "C1", "C1/t1", "C2", "C2/t1", "T1"}),
        ],
        ids=["a workspace", "a channel", "a thread", "a direct message"],
    )
    async def test_a_place_that_is_gone_is_unmarked(self, store: Store, gone: tuple[str, ...], left: set[str]) -> None:
        names = {
            "D1": mark("", "D1", "", 1),
            "T2": mark("T2", "C1", "", 2),
            "C1": mark("T1", "C1", "", 3),
            "C1/t1": mark("T1", "C1", "t1", 4),
            "C2": mark("T1", "C2", "", 5),
            "C2/t1": mark("T1", "C2", "t1", 6),
            "T1": mark("T1", "", "", 7),
        }
        await store.mark("slack", names.values(), at=AT)
        await store.mark("discord", names.values(), at=AT)
        await store.unmark(*gone)
        assert set(await store.watermarks("slack")) == {names[name] for name in left}
        assert len(await store.watermarks("discord")) == 7

    async def test_marks_of_threads_and_direct_messages_that_rest_go_with_the_last_conversation(self, store: Store) -> None:
        keys = [room("C1", thread="t1"), room("D1", workspace=""), room("C1"), room("C2", thread="t2")]
        for key in keys:
            await say(store, "hello", key=key)
            await answer(store)
            await store.mark("slack", [mark(key.workspace, key.channel, key.thread, 1)], at=AT)
        await store.expire(before=NOW, at=NOW, limit=9)
        await say(store, "good morning", key=keys[-1], at=NOW)
        while await store.purge(before=NOW + MINUTE, limit=1):
            pass
        assert set(await store.watermarks("slack")) == {mark("T1", "C1", "", 1), mark("T1", "C2", "t2", 1)}

    async def test_a_mark_that_is_only_repeated_rests(self, store: Store) -> None:
        await say(store, "hello", key=room("C1", thread="t1"))
        await answer(store)
        for at in (AT, NOW):
            await store.mark("slack", [mark("T1", "C1", "t1", 2)], at=at)
        await store.expire(before=NOW, at=AT, limit=9)
        while await store.purge(before=NOW, limit=9):
            pass
        assert await store.watermarks("slack") == ()

    async def test_a_mark_that_moved_since_the_cut_outlives_the_conversation(self, store: Store) -> None:
        await say(store, "hello", key=room("C1", thread="t1"))
        await answer(store)
        await store.expire(before=NOW, at=AT, limit=9)
        await store.mark("slack", [mark("T1", "C1", "t1", 2)], at=NOW)
        while await store.purge(before=NOW, limit=9):
            pass
        assert await store.watermarks("slack") == (mark("T1", "C1", "t1", 2),)

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_marks_that_can_not_be_stored_are_refused_all_together(self, store: Store, bad: str) -> None:
        with pytest.raises(UnstorableText):
            await store.mark("slack", [mark("T1", "C1", "", 1), mark("T1", bad, "", 1)], at=AT)
        assert await store.watermarks("slack") == ()


def choice(name: str, value: str, *, channel: str = "C1", workspace: str = "T1") -> Setting:
    return Setting(platform="slack", workspace=workspace, channel=channel, name=name, value=value)


class SettingLaws:
    """What operators chose, and what an adapter must know after a restart."""

    async def test_settings_come_back(self, store: Store) -> None:
        chosen = [choice("scope", "channel"), choice("trigger", "listen"), choice("trigger", "off", channel="C2")]
        chosen.append(choice("trigger", "listen", workspace="T2"))
        for setting in reversed(chosen):
            await store.put_setting(setting, author_id="U-Ann", at=AT)
        assert await store.settings("slack") == tuple(chosen)
        assert await store.settings("discord") == ()

    async def test_a_setting_is_replaced_or_removed_by_its_name(self, store: Store) -> None:
        await store.put_setting(choice("scope", "channel"), author_id="U-Ann", at=AT)
        await store.put_setting(choice("trigger", "listen"), author_id="U-Ann", at=AT)
        await store.put_setting(choice("trigger", "off"), author_id="U-Ann", at=AT)
        assert await store.settings("slack") == (choice("scope", "channel"), choice("trigger", "off"))
        for _ in range(2):
            await store.put_setting(choice("trigger", ""), author_id="U-Ann", at=AT)
        assert await store.settings("slack") == (choice("scope", "channel"),)

    async def test_a_note_comes_back_and_is_replaced_or_removed_by_its_name(self, store: Store) -> None:
        assert await store.recall("commands") == ""
        for note in ("one", "two \U0001f408", ""):
            await store.remember("commands", note)
            await store.remember("other", "stays")
            assert (await store.recall("commands"), await store.recall("other")) == (note, "stays")

    async def test_purging_and_deleting_leave_settings_and_notes_alone(self, store: Store) -> None:
        await store.put_setting(choice("scope", "channel"), author_id="U-Ann", at=AT)
        await store.remember("commands", "hash")
        deleted = await say(store, "hello", key=room("C2"))
        await store.delete(deleted)
        await say(store, "hello", key=ROOM)
        await answer(store)
        await store.expire(before=NOW, at=NOW, limit=9)
        while await store.purge(before=NOW + MINUTE, limit=9):
            pass
        assert await store.settings("slack") == (choice("scope", "channel"),)
        assert await store.recall("commands") == "hash"

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_what_can_not_be_stored_is_refused(self, store: Store, bad: str) -> None:
        for refused in (
            store.put_setting(choice("persona", bad), author_id="U-Ann", at=AT),
            store.put_setting(choice(bad, "x"), author_id="U-Ann", at=AT),
            store.remember("commands", bad),
            store.remember(bad, "x"),
        ):
            with pytest.raises(UnstorableText):
                await refused
        assert await store.settings("slack") == ()
        assert await store.recall("commands") == ""
