"""What people take away: all of it, once, in archives that fit, however much it is."""

import io
import json
import random
import zipfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.export import ARCHIVE, Archive, Cursor, Person, archives
from store import Attachment, Conversation, ConversationKey, Ending, Message, Opinions, Role, Store, UsageRow
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio

ADA = Person(platform="p", workspace="w", id="ada")
KEY = ConversationKey(platform="p", workspace="w", channel="kitchen", user="ada")
PICTURE = 5 << 20
NOTHING = Cursor()


@dataclass
class Shelf:
    """A store that only hands out; it keeps conversations and what was said in them."""

    said: dict[int, list[Message]] = field(default_factory=dict)
    reads: int = 0

    def say(self, conversation: int, text: str, *files: bytes) -> Message:
        messages = self.said.setdefault(conversation, [])
        number = 1 + sum(map(len, self.said.values()))
        message = Message(
            id=number,
            conversation_id=conversation,
            role=Role.USER,
            position=number,
            author_id="ada",
            author_name="Ada",
            text=text,
            ending=Ending.COMPLETE,
            turn_id=1,
            at=START,
            platform_id=f"m{number}",
            attachments=tuple(
                Attachment(number=at, name=f"../pic {at}.png", media_type="image/png", size=len(data), url="", data=data)
                for at, data in enumerate(files)
            ),
        )
        messages.append(message)
        return message

    async def conversations_with(
        self, platform: str, workspace: str, author_id: str, *, limit: int, after: int = 0
    ) -> tuple[Conversation, ...]:
        assert (platform, workspace, author_id) == ("p", "w", "ada")
        numbers = [number for number in sorted(self.said) if number > after][:limit]
        return tuple(
            Conversation(id=number, key=KEY, created_at=START, active_at=START, ended_at=None, expired_at=None)
            for number in numbers
        )

    async def said_in(self, conversation_id: int, author_id: str, *, limit: int, after: int = 0) -> tuple[Message, ...]:
        self.reads += 1
        return tuple(message for message in self.said[conversation_id] if message.id > after)[:limit]

    async def usage(self, platform: str, workspace: str, **which: object) -> tuple[UsageRow, ...]:
        return ()

    async def opinions(self, platform: str, workspace: str, author_id: str, *, after: int = 0) -> Opinions:
        return Opinions(opinions=(), next=None)


def kept_until(conversation: Conversation) -> datetime | None:
    return conversation.active_at + timedelta(days=30)


async def exported(shelf: Shelf, *, after: Cursor = NOTHING, most: int = 1000) -> list[Archive]:
    made = archives(cast(Store, shelf), ADA, after=after, at=START, kept_until=kept_until)
    found = []
    async for archive in made:
        found.append(archive)
        if len(found) == most:
            await made.aclose()
            break
    return found


def opened(archive: Archive) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(archive.data)) as unpacked:
        assert unpacked.testzip() is None
        files = {name: unpacked.read(name) for name in unpacked.namelist()}
    return json.loads(files.pop("conversations.json")), files


def said_in(found: list[Archive]) -> list[tuple[int, str]]:
    return [
        (conversation["id"], message["text"])
        for archive in found
        for conversation in opened(archive)[0]["conversations"]
        for message in conversation["messages"]
    ]


async def test_an_export_has_everything_in_plain_words() -> None:
    shelf = Shelf()
    shelf.say(1, "Grüße 😀", b"picture")
    (archive,) = await exported(shelf)
    listed, files = opened(archive)
    assert (listed["person"], listed["platform"], listed["workspace"]) == ("ada", "p", "w")
    (conversation,) = listed["conversations"]
    assert conversation["begun_at"] == START.isoformat()
    assert conversation["kept_until"] == (START + timedelta(days=30)).isoformat()
    (message,) = conversation["messages"]
    assert (message["text"], message["author"], message["message_id"]) == ("Grüße 😀", "ada", "m1")
    (file,) = message["files"]
    assert files == {file["kept_as"]: b"picture"}


async def test_no_name_of_a_file_leads_out_of_the_archive() -> None:
    shelf = Shelf()
    shelf.say(1, "", b"x", b"y")
    (_, files) = opened((await exported(shelf))[0])
    assert sorted(files) == ["files/1-0-pic_0.png", "files/1-1-pic_1.png"]


async def test_nothing_at_all_is_an_archive_that_says_so() -> None:
    (archive,) = await exported(Shelf())
    assert opened(archive) == (
        {
            "person": "ada",
            "platform": "p",
            "workspace": "w",
            "exported_at": START.isoformat(),
            "usage": [],
            "feedback": [],
            "conversations": [],
        },
        {},
    )
    assert archive.end is None


async def test_what_is_large_comes_in_archives_that_fit_with_each_message_and_file_once() -> None:
    shelf = Shelf()
    for conversation in range(1, 4):
        for number in range(4):
            # It can't be made smaller, as pictures can't.
            shelf.say(conversation, f"Look {number}", *(bytes([conversation]) + _noise(number * 2 + at) for at in range(2)))
    found = await exported(shelf)
    assert len(found) > 3
    assert all(len(archive.data) <= ARCHIVE for archive in found)
    assert said_in(found) == [(message.conversation_id, message.text) for message in _all(shelf)]
    kept = [data for archive in found for data in opened(archive)[1].values()]
    assert sorted(kept) == sorted(data.data for message in _all(shelf) for data in message.attachments if data.data)
    assert sum(archive.messages for archive in found) == 12
    assert sum(archive.conversations for archive in found) == 3


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_an_export_that_was_cut_goes_on_where_it_ended(most: int) -> None:
    shelf = Shelf()
    for conversation in range(1, 3):
        for number in range(3):
            shelf.say(conversation, f"Look {number}", _noise(number))
    found, after = [], NOTHING
    while True:
        part = await exported(shelf, after=after, most=most)
        found += part
        if part[-1].end is None:
            break
        assert part[-1].end > after
        after = part[-1].end
    assert said_in(found) == [(message.conversation_id, message.text) for message in _all(shelf)]


async def test_the_longest_message_there_can_be_moves_an_export_on_by_ten_archives() -> None:
    shelf = Shelf()
    shelf.say(1, "x" * 16_000, *(_noise(at) for at in range(10)))
    shelf.say(1, "After it")
    part = await exported(shelf, most=10)
    rest = await exported(shelf, after=part[-1].end, most=10) if part[-1].end else []
    assert said_in([*part, *rest])[-1] == (1, "After it")
    assert all(len(archive.data) <= ARCHIVE for archive in part)


async def test_long_talks_are_read_in_small_pieces() -> None:
    shelf = Shelf()
    for number in range(53):
        shelf.say(1, str(number))
    assert said_in(await exported(shelf)) == [(1, str(number)) for number in range(53)]
    assert shelf.reads == 11


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_a_cursor_is_read_as_it_was_written(conversation: int, message: int) -> None:
    cursor = Cursor(conversation=conversation, message=message)
    assert Cursor.read(str(cursor)) == cursor


@pytest.mark.parametrize("written", ["", "1", "1-", "-1-1", "1-1-1", "a-b", "1 -1", "9" * 30 + "-1", "١-١"])
def test_anything_else_is_no_cursor(written: str) -> None:
    assert Cursor.read(written) is None


def _all(shelf: Shelf) -> list[Message]:
    return [message for messages in shelf.said.values() for message in messages]


def _noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(PICTURE - 1)
