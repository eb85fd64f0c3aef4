"""Laws of what comes with a message: files that are read later, who wrote it, what it is called."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from store import SMALL_FILE, SMALL_FILES, TOO_FAR_BACK, Attachment, Hold, Message, Role, Store, UnstorableText
from tests.contracts.store_words import AT, LEASE, MINUTE, ROOM, answer, message, named, read, room, say, take

PHOTO = Attachment(number=0, name="cat \U0001f408.png", media_type="image/png", size=5_000_000_000, url="https://cdn/1")
NOTES = Attachment(number=1, name="", media_type="", size=0, url="https://cdn/2", data=b"\0\xff", problem="")
BROKEN = Attachment(number=2, name="x.zip", media_type="application/zip", size=9, url="", problem="not readable")


def shown(window: Sequence[Message]) -> list[tuple[int, ...]]:
    """Tell the pictures of a window that came with their data, by the last two bytes of each."""
    files = (file for m in window for file in m.attachments)
    return [tuple(file.data[-2:]) for file in files if file.data is not None and len(file.data) > SMALL_FILE]


class AttachmentLaws:
    """A file stands with its message from the first, and is read when there is time."""

    async def test_attachments_come_back_as_they_were_given(self, store: Store) -> None:
        conversation_id = await store.accept(message("see", attachments=(PHOTO, NOTES, BROKEN)))
        assert conversation_id is not None
        await say(store, "and?")
        (with_files, without) = await store.recent(conversation_id, 9)
        assert (with_files.attachments, without.attachments) == ((PHOTO, NOTES, BROKEN), ())
        claim = await take(store)
        assert claim.window == (with_files, without)
        await store.accept(message("one more", attachments=(PHOTO,)))
        absorbed = await store.absorb(claim.hold, window=1)
        assert absorbed is not None
        assert [m.attachments for m in absorbed.window] == [(PHOTO,)]

    async def test_a_message_that_is_begun_at_once_has_its_attachments(self, store: Store) -> None:
        accepted = await store.accept_and_claim(message("see", attachments=(PHOTO,)), lease=LEASE, window=9)
        assert accepted is not None
        assert accepted.claim is not None
        assert [m.attachments for m in accepted.claim.window] == [(PHOTO,)]

    async def test_what_was_read_is_kept(self, store: Store) -> None:
        await store.accept(message("see", attachments=(PHOTO, BROKEN)))
        claim = await take(store)
        (seen,) = claim.window
        await store.keep_attachment(claim.hold, seen.id, 0, b"\x89PNG")
        await store.keep_attachment(claim.hold, seen.id, 2, None, problem="too large")
        (kept,) = await store.recent(claim.hold.conversation_id, 9)
        assert kept.attachments == (replace(PHOTO, data=b"\x89PNG"), replace(BROKEN, problem="too large"))

    async def test_of_forty_pictures_the_newest_four_come_with_their_data(self, store: Store) -> None:
        note = replace(NOTES, number=0, data=bytes(SMALL_FILE))
        for n in range(5):
            pictures = [replace(PHOTO, number=m, data=bytes(SMALL_FILE + 1) + bytes((n, m))) for m in range(1, 9)]
            await store.accept(message("see", message_id=f"M-{n}", attachments=(note, *pictures)))
        claim = await take(store)
        assert shown(claim.window) == [(4, 5), (4, 6), (4, 7), (4, 8)]
        assert [m.attachments[0] for m in claim.window] == [note] * 5, "what is small comes with every message"
        left_out = [file for m in claim.window for file in m.attachments if file.data is None]
        assert {file.problem for file in left_out} == {TOO_FAR_BACK}
        assert len(left_out) == 36
        await store.retract([named("M-4")])
        assert shown(await store.recent(claim.hold.conversation_id, 9)) == [(3, 5), (3, 6), (3, 7), (3, 8)], "it is kept"

    async def test_of_a_hundred_small_files_the_newest_come_with_their_data(self, store: Store) -> None:
        picture = replace(PHOTO, number=10, data=bytes(SMALL_FILE + 1))
        for n in range(10):
            notes = [replace(NOTES, number=m, data=bytes((n, m))) for m in range(10)]
            await store.accept(message("see", attachments=(*notes, picture) if n == 0 else notes))
        window = (await take(store)).window
        files = [file for m in window for file in m.attachments]
        small = [file.data for file in files if file.media_type == NOTES.media_type]
        assert small[-SMALL_FILES:] == [bytes(divmod(n, 10)) for n in range(100)][-SMALL_FILES:]
        assert set(small[:-SMALL_FILES]) == {None}
        assert {file.problem for file in files if file.data is None} == {TOO_FAR_BACK}
        assert picture in files, "large ones are counted by themselves"

    async def test_pictures_that_were_not_read_do_not_count(self, store: Store) -> None:
        await store.accept(message("see", attachments=(replace(PHOTO, data=bytes(SMALL_FILE + 1) + bytes(2)),)))
        await store.accept(message("and", attachments=tuple(replace(PHOTO, number=n) for n in range(9))))
        window = (await take(store)).window
        assert shown(window) == [(0, 0)]
        assert {(file.data, file.problem) for file in window[1].attachments} == {(None, "")}

    async def test_reading_again_replaces_the_problem(self, store: Store) -> None:
        await store.accept(message("see", attachments=(BROKEN,)))
        claim = await take(store)
        await store.keep_attachment(claim.hold, claim.window[0].id, 2, b"")
        (kept,) = await store.recent(claim.hold.conversation_id, 9)
        assert kept.attachments == (replace(BROKEN, data=b"", problem=""),)

    async def test_nothing_is_kept_of_what_is_not_there_or_not_the_turns(self, store: Store) -> None:
        await store.accept(message("mine", attachments=(PHOTO,)))
        claim = await take(store)
        theirs = await store.accept(message("theirs", key=room("C2"), attachments=(PHOTO,)))
        assert theirs is not None
        (other,) = await store.recent(theirs, 9)
        for message_id, number in ((other.id, 0), (claim.window[0].id, 7), (404, 0)):
            await store.keep_attachment(claim.hold, message_id, number, b"x")
        for conversation_id in (claim.hold.conversation_id, theirs):
            assert [m.attachments for m in await store.recent(conversation_id, 9)] == [(PHOTO,)]

    async def test_both_data_and_a_problem_or_neither_is_refused(self, store: Store) -> None:
        hold = Hold(turn_id=1, conversation_id=1, epoch=1)
        with pytest.raises(ValueError):
            await store.keep_attachment(hold, 1, 0, b"x", problem="y")
        with pytest.raises(ValueError):
            await store.keep_attachment(hold, 1, 0, None)

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_what_can_not_be_stored_of_an_attachment_is_refused(self, store: Store, bad: str) -> None:
        for refused in (
            replace(PHOTO, name=bad),
            replace(PHOTO, media_type=bad),
            replace(PHOTO, url=bad),
            replace(PHOTO, problem=bad),
        ):
            with pytest.raises(UnstorableText):
                await store.accept(message("see", attachments=(refused,)))
        with pytest.raises(UnstorableText):
            await store.keep_attachment(Hold(turn_id=1, conversation_id=1, epoch=1), 1, 0, None, problem=bad)
        assert await store.find(ROOM) is None

    async def test_a_redelivery_adds_no_attachment(self, store: Store) -> None:
        given = message("see", position=7, attachments=(PHOTO,))
        conversation_id = await store.accept(given)
        assert conversation_id is not None
        assert await store.accept(given) is None
        assert await store.accept(message("see", position=7, attachments=(PHOTO, BROKEN))) is None
        assert [m.attachments for m in await store.recent(conversation_id, 9)] == [(PHOTO,)]

    async def test_deleting_and_purging_take_attachments_along_and_touch_no_others(self, store: Store) -> None:
        ids = []
        for channel in ("deleted", "purged", "kept"):
            ids.append(await store.accept(message("see", key=room(channel), attachments=(PHOTO,))))
            await answer(store)
        deleted, _, kept = [id_ or 0 for id_ in ids]
        await store.accept(message("again", key=room("kept"), at=AT + 9 * MINUTE, attachments=(NOTES,)))
        assert await store.delete(deleted) == 2
        assert (await store.expire(before=AT + MINUTE, at=AT, limit=9)).expired == 1
        while await store.purge(before=AT + MINUTE, limit=1):
            pass
        assert [m.attachments for m in await store.recent(kept, 9)] == [(PHOTO,), (), (NOTES,)]
        assert await read(store, kept) == ["see", "hi", "again"]

    async def test_whether_a_bot_wrote_it_comes_back(self, store: Store) -> None:
        await store.accept(message("beep", from_bot=True))
        conversation_id = await say(store, "hello")
        await answer(store)
        assert [m.from_bot for m in await store.recent(conversation_id, 9)] == [True, False, False]

    async def test_what_the_platform_calls_it_comes_back(self, store: Store) -> None:
        await store.accept(message("beep", message_id="1700.1"))
        claim = await answer(store)
        await store.append(claim.hold.conversation_id, Role.USER, "told", at=AT)
        assert [m.platform_id for m in claim.window] == ["1700.1"]
        assert [m.platform_id for m in await store.recent(claim.hold.conversation_id, 9)] == ["1700.1", "", ""]
