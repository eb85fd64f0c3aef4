"""Files that people send: read once before the answer, kept, given to the model, and what was missing of them is said."""

import asyncio
from dataclasses import replace

import pytest

from bot.chat.attachments import TEXT_BYTES
from bot.chat.protocol import Address, FileOffer
from bot.chat.reading import AT_ONCE, DEADLINE
from store import SMALL_FILE, SMALL_FILES, TOO_FAR_BACK, Attachment, LeaseLost, open_store
from tests.chat.chatting import KITCHEN, SETTINGS, Chat, chatting, until
from tests.chat.dying import die_before_showing, next_process
from tests.chat.test_attachments import PNG
from tests.fakes.clock import FakeClock
from tests.fakes.surface import FakeSurface, Fault

pytestmark = pytest.mark.anyio

SEEING = replace(SETTINGS, sees_images=True)


def offer(name: str, size: int, media_type: str = "text/plain") -> FileOffer:
    return FileOffer(name=name, media_type=media_type, size=size, url=f"cdn/{name}")


def upload(chat: Chat, name: str, data: bytes, media_type: str = "text/plain") -> FileOffer:
    """Put a file on the platform, and return what a message says of it."""
    chat.surface.files[f"cdn/{name}"] = data
    return offer(name, len(data), media_type)


async def kept(chat: Chat, conversation_id: int | None) -> list[Attachment]:
    assert conversation_id is not None
    messages = await chat.store.recent(conversation_id, 100)
    return [file for message in messages for file in message.attachments]


def reads(chat: Chat) -> list[str]:
    return [call.about for call in chat.surface.calls if call.method == "read_file"]


async def test_a_text_file_is_read_by_the_model_and_kept() -> None:
    async with chatting("It prints 1.") as chat:
        outcome = await chat.say("What does it do?", files=(upload(chat, "a.py", b"print(1)"),))
        await chat.quiet()
        assert chat.model.prompts[0][-1].text == 'What does it do?\n\nThe file "a.py":\n```\nprint(1)\n```'
        assert [file.data for file in await kept(chat, outcome.conversation_id)] == [b"print(1)"]
        assert chat.surface.texts(KITCHEN) == ["It prints 1."]


async def test_a_file_is_read_once_and_stays_in_the_conversation() -> None:
    async with chatting("It prints 1.", "Still 1.", "I said 1.") as chat:
        outcome = await chat.say("What does it do?", files=(upload(chat, "a.py", b"print(1)"),))
        await chat.quiet()
        chat.surface.files.clear()
        await chat.say("Sure?")
        await chat.quiet()
        assert outcome.conversation_id is not None
        await chat.turns.retry(outcome.conversation_id)
        await chat.quiet()
        assert reads(chat) == ["a.py"]
        assert "print(1)" in chat.model.prompts[2][1].text


async def test_what_was_not_read_or_only_in_part_is_said_under_the_answer_and_is_no_part_of_it() -> None:
    async with chatting("Well.") as chat:
        files = (
            upload(chat, "notes.txt", b"a" * 80_000),
            offer("all.zip", 10, "application/zip"),
            offer("lost.txt", 10),
            upload(chat, "photo.png", PNG, "image/png"),
            upload(chat, "fake.txt", b"MZ\0\0"),
        )
        await chat.say("Look", files=files)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == [
            "Well.\n\n*(I read only the first 12,000 of 80,000 characters of notes.txt; "
            "I can't read all.zip: it is neither text nor a picture; "
            "I can't read lost.txt: it is no longer there; "
            "I can't see photo.png: this model reads only text; "
            "and 1 more)*"
        ]
        assert await chat.history() == [("user", "Look"), ("assistant", "Well.")]
        assert reads(chat) == ["notes.txt", "lost.txt", "fake.txt"]


async def test_people_are_told_that_of_a_message_only_the_first_ten_files_are_read() -> None:
    async with chatting("Well.") as chat:
        await chat.say("Look", files=tuple(upload(chat, f"{n}.txt", b"abc") for n in range(1, 13)))
        await chat.quiet()
        assert sorted(reads(chat)) == sorted(f"{n}.txt" for n in range(1, 11))
        remark = "I can't read 11.txt: I read only the first 10 files of a message"
        assert chat.surface.texts(KITCHEN) == [f"Well.\n\n*({remark})*"]


async def test_a_file_is_asked_for_by_the_name_of_its_message() -> None:
    class Library(FakeSurface):
        asked: tuple[str, ...] = ()

        async def read_file(self, address: Address, message_id: str, file: FileOffer, *, limit: int) -> bytes:
            self.asked += (message_id,)
            return b"abc"

    clock = FakeClock()
    library = Library(clock)
    async with chatting("Read.", clock=clock, surface=library) as chat:
        await chat.say("Look", position=1_700_000_000_123_456, files=(offer("a.txt", 3), offer("b.txt", 3)))
        await chat.quiet()
        assert library.asked == ("m1700000000123456",) * 2


async def test_a_picture_is_seen_by_a_model_that_can() -> None:
    async with chatting("A cat.", settings=SEEING) as chat:
        await chat.say("What is this?", files=(upload(chat, "cat.png", PNG, "image/png"),))
        await chat.quiet()
        assert [image.data for image in chat.model.prompts[0][-1].images] == [PNG]
        assert chat.surface.texts(KITCHEN) == ["A cat."]


async def test_of_many_large_pictures_all_are_kept_and_the_newest_four_held_for_the_prompt() -> None:
    async with chatting("Cats.", settings=SEEING) as chat:
        cats = [PNG + bytes(SMALL_FILE) + bytes([n]) for n in range(6)]
        files = [upload(chat, f"cat{n}.png", cat, "image/png") for n, cat in enumerate(cats)]
        outcome = await chat.say("What are these?", files=(*files, upload(chat, "a.txt", b"abc")))
        await chat.quiet()
        question = chat.model.prompts[0][-1]
        assert [image.data for image in question.images] == cats[2:]
        assert question.text.count("it is too far back") == 2
        assert len(reads(chat)) == 7
        files_kept = await kept(chat, outcome.conversation_id)
        assert [file.problem for file in files_kept] == [TOO_FAR_BACK] * 2 + [""] * 5, "left out here, too, and not unread"


async def test_of_a_burst_of_texts_all_are_kept_and_the_newest_held_for_the_prompt() -> None:
    async with chatting("Read.", working=False) as chat:
        for number in range(4):
            files = tuple(upload(chat, f"{number}{n}.txt", b"abc") for n in range(10))
            outcome = await chat.say("These", files=files)
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        asked = "".join(message.text for message in chat.model.prompts[0][1:])
        assert asked.count("abc") == SMALL_FILES
        assert asked.count(TOO_FAR_BACK) == 40 - SMALL_FILES
        assert asked.index(TOO_FAR_BACK) < asked.index("abc")
        assert len(reads(chat)) == 40
        files_kept = await kept(chat, outcome.conversation_id)
        assert [file.problem for file in files_kept].count(TOO_FAR_BACK) == 40 - SMALL_FILES, "left out here, and not unread"


async def test_a_picture_that_this_model_can_not_see_is_seen_by_the_next_one() -> None:
    clock = FakeClock()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    surface = FakeSurface(clock)
    async with chatting("I see nothing.", store=store, clock=clock, surface=surface) as blind:
        outcome = await blind.say("What is this?", files=(upload(blind, "cat.png", PNG, "image/png"),))
        await blind.quiet()
    async with chatting("A cat.", store=store, clock=clock, surface=surface, settings=SEEING) as seeing:
        assert outcome.conversation_id is not None
        await seeing.turns.retry(outcome.conversation_id)
        await seeing.quiet()
        assert surface.texts(KITCHEN) == ["A cat."]
    await store.aclose()


async def test_of_a_long_text_only_the_beginning_is_fetched() -> None:
    async with chatting("Long.") as chat:
        outcome = await chat.say("Sum it up", files=(upload(chat, "big.log", b"line\n" * 200_000),))
        await chat.quiet()
        assert [len(file.data or b"") for file in await kept(chat, outcome.conversation_id)] == [TEXT_BYTES]
        assert "the first 12,000 characters of 1,000,000 bytes" in chat.surface.texts(KITCHEN)[0]


async def test_files_are_read_beside_each_other_but_few_at_once() -> None:
    gates = [asyncio.Event() for _ in range(6)]
    async with chatting("Read.") as chat:
        chat.surface.script("read_file", *gates)
        await chat.say("Look", files=tuple(upload(chat, f"{n}.txt", b"abc") for n in range(6)))
        await until(lambda: len(reads(chat)) == AT_ONCE)
        await asyncio.sleep(0.02)
        assert len(reads(chat)) == AT_ONCE
        for gate in gates:
            gate.set()
        await chat.quiet()
        assert len(reads(chat)) == 6


async def test_a_file_that_takes_too_long_does_not_hold_up_the_answer() -> None:
    async with chatting("Well.") as chat:
        chat.surface.script("read_file", asyncio.Event())
        outcome = await chat.say("Look", files=(upload(chat, "slow.txt", b"abc"),))
        await until(lambda: len(reads(chat)) == 1)
        await chat.clock.advance(DEADLINE)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Well.\n\n*(I can't read slow.txt: it took too long to read)*"]
        assert [file.problem for file in await kept(chat, outcome.conversation_id)] == ["it took too long to read"]


@pytest.mark.parametrize("fault", [Fault.DELAYED, Fault.UNREACHABLE, Fault.CALL_LOST])
async def test_a_platform_that_fails_to_give_a_file_does_not_fail_the_turn(fault: Fault) -> None:
    async with chatting("Well.") as chat:
        chat.surface.script("read_file", fault)
        await chat.say("Look", files=(upload(chat, "notes.txt", b"abc"),))
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Well.\n\n*(I can't read notes.txt: it can't be had right now)*"]


async def test_a_stop_while_files_are_read_stops_the_turn() -> None:
    async with chatting() as chat:
        chat.surface.script("read_file", asyncio.Event())
        outcome = await chat.say("Look", files=(upload(chat, "notes.txt", b"abc"),))
        await until(lambda: len(reads(chat)) == 1)
        assert outcome.conversation_id is not None
        await chat.turns.stop(outcome.conversation_id)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Stopped."]
        assert "attachment" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_message_that_comes_while_files_are_read_is_answered_with_them_and_its_own_are_read_too() -> None:
    gate = asyncio.Event()
    async with chatting("Both.") as chat:
        chat.surface.script("read_file", gate)
        await chat.say("First", files=(upload(chat, "1.txt", b"one"),))
        await until(lambda: len(reads(chat)) == 1)
        await chat.say("Second", files=(upload(chat, "2.txt", b"two"),))
        gate.set()
        await chat.quiet()
        (prompt,) = chat.model.prompts
        assert [message.text.count("```") for message in prompt] == [0, 2, 2]
        assert chat.surface.texts(KITCHEN) == ["Both."]


async def test_a_turn_that_is_lost_while_files_are_read_goes_no_further(monkeypatch) -> None:
    async with chatting() as chat:

        async def lost(*args: object, **kwargs: object) -> None:
            raise LeaseLost("somebody else's by now")

        monkeypatch.setattr(chat.store, "keep_attachment", lost)
        await chat.say("Look", files=tuple(upload(chat, f"{n}.txt", b"abc") for n in range(3)))
        await until(lambda: len(reads(chat)) == 3)
        await until(lambda: chat.turns.running == 0)
        assert chat.model.prompts == []
        assert chat.surface.texts(KITCHEN) == []


async def test_what_is_said_of_files_is_said_again_when_another_process_shows_the_answer() -> None:
    async with chatting("Well.") as dead:
        await die_before_showing(dead, "Look", files=(offer("all.zip", 10, "application/zip"),))
        async with next_process(dead) as chat:
            await chat.quiet()
            assert chat.surface.texts(KITCHEN) == ["Well.\n\n*(I can't read all.zip: it is neither text nor a picture)*"]
