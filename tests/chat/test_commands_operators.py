"""What operators see and set aside: of their own workspace, and of no other."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat import words_commands as say
from bot.chat.commands import TABLE
from bot.chat.commands_operators import _csv
from bot.chat.policy import Rules
from store import NewMessage, UsageBy, UsageRow
from tests.chat.chatting import KITCHEN, PLATFORM, Chat, chatting, until
from tests.chat.commanding import COOK, HOST, appoint, table, text_of, type_in, typed

pytestmark = pytest.mark.anyio

SECRET = "canary-in-the-mine"


@asynccontextmanager
async def operated(*steps: object, **parts: Any) -> AsyncIterator[Chat]:
    async with chatting(*steps, operators=[HOST], **parts) as chat:
        await appoint(chat)
        yield chat


async def asked(chat: Chat, text: str = SECRET, **parts: Any) -> None:
    await chat.say(text, **parts)
    await chat.quiet()


async def foreign(chat: Chat) -> int:
    """Have something said in another workspace; return its conversation's number."""
    message = chat.message(SECRET, user="zoltan")
    kept = await chat.store.accept(
        NewMessage(
            key=replace(chat.key(user="zoltan"), workspace="elsewhere"),
            event_id="",
            message_id="foreign",
            position=None,
            author_id="zoltan",
            author_name="Zoltan",
            text=SECRET,
            address=replace(message.address, workspace="elsewhere").encode(),
            at=chat.clock.now(),
        )
    )
    assert kept is not None
    await chat.quiet()
    return kept


async def as_cook(chat: Chat, line: str, **parts: Any) -> str:
    return await text_of(chat, line, user="carl", standing=COOK, **parts)


async def test_status_has_a_line_for_each_platform() -> None:
    async with operated() as chat:
        text = await text_of(chat, "status")
        assert f"platforms  {PLATFORM} (3 servers)\n           other (asleep)\n" in text
        assert "nothing is paused" in text
        assert "kept       for ever" in text


async def test_status_shows_operators_of_a_workspace_nothing_of_the_others() -> None:
    never = asyncio.Event()
    async with operated(["Half", never], rules=Rules(ttl=timedelta(days=30))) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        text = await as_cook(chat, "status")
        assert "1 turn running here" in text
        assert "30 days" in text
        assert [word for word in ("servers", "platforms", "store", "queue", "replicas") if word in text] == []
        elsewhere = await text_of(chat, "status", workspace="elsewhere", user="zoltan")
        assert "no such command" in elsewhere


@pytest.mark.parametrize(
    ("spot", "said"),
    [({"channel": "kitchen"}, "paused in kitchen"), ({}, "the workspace is paused")],
)
async def test_status_says_what_is_paused(spot: dict[str, str], said: str) -> None:
    async with operated() as chat:
        await chat.pause(**spot)
        assert said in await as_cook(chat, "status")


async def test_conversations_are_listed_the_newest_first_and_never_what_was_said() -> None:
    async with operated("One.", "Two.") as chat:
        await asked(chat)
        await asked(chat, user="bob", channel="garden")
        reply = await type_in(chat, "conversations")
        assert reply.columns
        rows = [line.split()[:5] for line in reply.text.splitlines()[1:]]
        assert rows == [["2", "garden", "-", "bob", "2"], ["1", "kitchen", "-", "ada", "2"]]
        assert SECRET not in reply.text


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("all", ["3", "2", "1"]),
        ("current", ["3", "2"]),
        ("ended", ["1"]),
        ("EXPIRED", []),
        ("user:ada", ["2", "1"]),
        ("channel:garden", ["3"]),
        ("77", ["3"]),
        ("78", []),
    ],
)
async def test_conversations_are_filtered_by_a_state_a_person_or_a_channel(wanted: str, found: list[str]) -> None:
    async with operated("One.", "Two.", "Three.") as chat:
        await asked(chat)
        await type_in(chat, "new")
        await asked(chat)
        await asked(chat, user="77", channel="garden")
        text = await text_of(chat, f"conversations {wanted}")
        assert [line.split()[0] for line in text.splitlines()[1:]] == found
        assert (text == say.NO_CONVERSATIONS) is (found == [])


async def test_a_filter_that_is_none_is_told_what_there_is() -> None:
    async with operated() as chat:
        assert await text_of(chat, "conversations everything") == say.NO_SUCH_FILTER
        assert "whole number" in await text_of(chat, "conversations all 1 2")


async def test_conversations_come_in_pages() -> None:
    async with operated() as chat:
        for number in range(45):
            await chat.store.get_or_create(chat.key(user=f"u{number}"), at=chat.clock.now())
        pages = [await text_of(chat, f"conversations all {page}") for page in (1, 2, 3, 4)]
        assert [len(page.splitlines()) for page in pages] == [22, 22, 6, 1]
        assert pages[0].endswith("`/parley conversations all 2`.")
        numbers = [line.split()[0] for page in pages[:3] for line in page.splitlines()[1:] if line[0].isdigit()]
        assert numbers == [str(number) for number in range(45, 0, -1)]
        assert pages[3] == say.NO_CONVERSATIONS
        assert "from 1 to 50" in await text_of(chat, "conversations all 51")


async def test_show_tells_how_turns_went_and_nothing_of_what_was_said() -> None:
    async with operated("Answer") as chat:
        await asked(chat)
        await type_in(chat, f"persona {SECRET}")
        text = await text_of(chat, "show 1")
        assert "done" in text
        assert "scripted" in text
        assert "their own" in text
        assert SECRET not in text
        assert "Answer" not in text


@pytest.mark.parametrize("command", ["show", "parley forget", "restore"])
async def test_a_conversation_of_another_workspace_is_one_that_does_not_exist(command: str) -> None:
    async with operated("Hello.") as chat:
        number = await foreign(chat)
        told = {await as_cook(chat, f"{command} {which}") for which in (number, 999, "0", "nonsense", "9" * 90, "١")}
        assert len(told) == 1
        kept = await chat.store.record(PLATFORM, "elsewhere", number)
        assert kept is not None
        assert kept.conversation.expired_at is None
        assert str(number) not in (await as_cook(chat, "conversations")).split()


async def test_nothing_of_another_workspace_is_listed_counted_or_suggested() -> None:
    async with operated("Hello.") as chat:
        await foreign(chat)
        for line in ("conversations", "conversations user:zoltan", "parley usage", "audit", "status"):
            assert "zoltan" not in (await as_cook(chat, line)).replace("user:zoltan", "")
        for row in ("show", "forget", "restore"):
            (option,) = TABLE[f"parley {row}"].options
            assert await table(chat).suggest(typed(chat, f"parley {row}", user="carl", standing=COOK), option, "") == []


async def test_what_was_set_aside_comes_back_whole_until_it_is_purged() -> None:
    async with operated("Hello.") as chat:
        await asked(chat, "Remember me.")
        assert "`/parley restore 1`" in await as_cook(chat, "parley forget 1")
        assert await chat.history() == []
        assert await as_cook(chat, "parley forget 1") == say.NOT_TO_FORGET
        assert "back" in await as_cook(chat, "restore 1")
        assert await chat.history() == [("user", "Remember me."), ("assistant", "Hello.")]
        assert await as_cook(chat, "restore 1") == say.NOT_TO_RESTORE


async def test_setting_aside_stops_what_is_under_way() -> None:
    never = asyncio.Event()
    async with operated(["Half", never]) as chat:
        await chat.say("Question")
        await until(lambda: chat.surface.texts(KITCHEN) == ["Half"])
        assert "set aside" in await as_cook(chat, "parley forget 1")
        await chat.quiet()
        assert "stopped" in chat.surface.texts(KITCHEN)[0]
        assert await chat.history() == []


async def test_conversations_are_suggested_where_they_fit() -> None:
    async with operated("One.", "Two.") as chat:
        await asked(chat)
        await asked(chat, user="bob")
        await type_in(chat, "parley forget 1")

        async def suggested(row: str) -> list[str]:
            (option,) = TABLE[f"parley {row}"].options
            return await table(chat).suggest(typed(chat, f"parley {row}"), option, "")

        assert await suggested("show") == ["2", "1"]
        assert await suggested("forget") == ["2"]
        assert await suggested("restore") == ["1"]


async def test_usage_is_summed_up_by_whatever_is_asked_for() -> None:
    async with operated("One.", "Two.", "Three.") as chat:
        await asked(chat)
        await asked(chat, channel="garden")
        await asked(chat, user="bob")
        by_user = await text_of(chat, "parley usage")
        assert [line.split()[:2] for line in by_user.splitlines()] == [["user", "turns"], ["ada", "2"], ["bob", "1"]]
        by_channel = await text_of(chat, "parley usage channel 1")
        assert [line.split()[:2] for line in by_channel.splitlines()][1:] == [["kitchen", "2"], ["garden", "1"]]
        by_day = await text_of(chat, "parley usage day 400")
        assert by_day.splitlines()[1].split()[:2] == ["2026-01-01", "3"]
        assert "from 1 to 400" in await text_of(chat, "parley usage day 401")


async def test_usage_as_a_file_is_private_and_has_every_row() -> None:
    async with operated("One.") as chat:
        await asked(chat)
        reply = await type_in(chat, "parley usage user 7 csv")
        (file,) = reply.files
        assert reply.private
        assert file.name == "usage.csv"
        assert list(csv.reader(io.StringIO(file.data.decode())))[1][:2] == ["ada", "1"]


@given(st.text(max_size=20))
def test_no_cell_of_a_file_is_carried_out_as_a_formula(heading: str) -> None:
    row = UsageRow(heading=heading, turns=1, prompt_tokens=2, completion_tokens=3, money=4)
    written = list(csv.reader(io.StringIO(_csv(UsageBy.USER, [row]).decode("utf-8", "surrogatepass"), newline="")))
    assert written[1][0] in (heading, f"'{heading}")
    assert not written[1][0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert written[1][1:] == ["1", "2", "3", "0.000004"]


async def test_sweep_tells_what_it_did() -> None:
    async with operated() as chat:
        assert (await text_of(chat, "sweep")).startswith("Swept: 0 conversations expired, 0 rows purged;")


async def test_doctor_tells_what_it_found() -> None:
    async with operated() as chat:
        assert (await text_of(chat, "doctor")).splitlines()[1:] == ["good  disk  enough", "BAD   net   mend it"]


async def test_the_log_says_who_did_what_when_and_what_changed() -> None:
    async with operated() as chat:
        await as_cook(chat, "channel trigger listen")
        await text_of(chat, "parley status", user="bob")
        rows = (await as_cook(chat, "audit")).splitlines()
        assert rows[0].split() == ["when", "who", "where", "action", "target", "from", "to", "outcome"]
        refused, changed = (next(row for row in rows if action in row) for action in ("parley status", "parley channel"))
        assert refused.split()[2] == "bob"
        assert refused.endswith("refused")
        assert changed.split()[2:] == ["carl", "kitchen", "parley", "channel", "trigger", "-", "listen", "done"]


async def test_the_log_comes_in_pages() -> None:
    async with operated() as chat:
        for number in range(25):
            await text_of(chat, f"show {number}")
        first, second = await text_of(chat, "audit"), await text_of(chat, "audit 2")
        assert first.endswith("`/parley audit 2`.")
        assert len(first.splitlines()) == 22
        assert "There is more" not in second
        assert await text_of(chat, "audit 9") == say.NO_ENTRIES


async def test_what_concerns_everything_is_in_the_log_of_hosts_alone() -> None:
    async with operated() as chat:
        await text_of(chat, "pause everything")
        assert "parley pause" in await text_of(chat, "audit")
        assert "parley pause" not in await as_cook(chat, "audit")
