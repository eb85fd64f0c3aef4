"""The terminal is a surface like any other, as far as a screen can be; what a model says can't drive it."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.console import ConsoleChat, ConsoleSurface, address_of, clean
from bot.adapters.console_input import piped_lines
from bot.chat.policy import CONSOLE
from bot.chat.protocol import CommandCall, CommandReply, MessageGone, ReplyFile
from tests.chat.chatting import Chat, chatting
from tests.chat.commanding import table
from tests.contracts.surface_laws import SurfaceLaws

pytestmark = pytest.mark.anyio

HERE = address_of(user="ada", channel="terminal")


class TestConsole(SurfaceLaws):
    edits_in_place = False
    deletes = False
    has_files = False
    takes_files = False

    @pytest.fixture
    def address(self):
        return HERE

    @pytest.fixture
    def surface(self):
        return ConsoleSurface(io.StringIO(), at=HERE)

    async def see(self, surface, address):
        written = surface._out.getvalue()
        return written.split("\n\n") if written else []


async def test_an_edit_writes_on_what_is_there() -> None:
    out = io.StringIO()
    surface = ConsoleSurface(out, at=HERE)
    shown = await surface.post(HERE, "Hello", nonce="n")
    await surface.edit(HERE, shown, "Hello Ada.")
    assert out.getvalue() == "Hello Ada."


async def test_an_edit_that_changes_what_is_there_begins_anew() -> None:
    out = io.StringIO()
    surface = ConsoleSurface(out, at=HERE)
    shown = await surface.post(HERE, "Hello Bob", nonce="n")
    await surface.edit(HERE, shown, "Hello Ada.")
    assert out.getvalue() == "Hello Bob\n\nHello Ada."


async def test_what_an_earlier_process_wrote_is_gone_with_its_screen() -> None:
    with pytest.raises(MessageGone):
        await ConsoleSurface(io.StringIO(), at=HERE).edit(HERE, "earlier", "text")


async def test_an_answer_to_somebody_else_says_for_whom_it_is() -> None:
    out = io.StringIO()
    surface = ConsoleSurface(out, at=HERE)
    await surface.post(address_of(user="bob", channel="garden"), "Hi", nonce="n")
    assert out.getvalue() == "(for bob in garden)\nHi"


async def test_a_heading_can_not_drive_the_terminal() -> None:
    out = io.StringIO()
    await ConsoleSurface(out, at=HERE).post(address_of(user="bob\x1b[2J", channel="gar\x07den"), "Hi", nonce="n")
    assert out.getvalue() == "(for bob[2J in garden)\nHi"


def test_a_model_can_not_drive_the_terminal() -> None:
    assert clean("\x1b[2Jno\x07 \x9b1mbell\r\n\tkept") == "[2Jno 1mbell\n\tkept"


@given(st.text())
def test_cleaning_loses_nothing_that_can_be_read(text: str) -> None:
    kept = clean(text)
    assert clean(kept) == kept
    assert [sign for sign in text if sign >= " " and not "\x7f" <= sign <= "\x9f"] == [
        sign for sign in kept if sign not in "\n\t"
    ]


async def test_piped_lines_come_one_by_one_and_the_last_needs_no_line_feed() -> None:
    read, write = os.pipe()
    os.write(write, b"one\ntwo \xf0\x9f\x98\x80\n\xff\nlast")
    os.close(write)
    with os.fdopen(read) as source:
        assert [line async for line in piped_lines(source)] == ["one\n", "two 😀\n", "\udcff\n", "last"]


async def test_a_file_is_read_like_a_pipe(tmp_path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\ntwo\n")
    with path.open() as source:
        assert [line async for line in piped_lines(source)] == ["one\n", "two\n"]


def talk(chat: Chat, out: io.StringIO, commands: object = None) -> ConsoleChat:
    surface = ConsoleSurface(out, at=HERE)
    return ConsoleChat(
        chat.store,
        chat.intake,
        chat.turns,
        commands or table(chat),  # type: ignore[arg-type]
        surface,
        chat.clock,
        user="ada",
        channel="terminal",
    )


async def shown(chat: Chat, line: str, commands: object = None) -> str:
    out = io.StringIO()
    assert await talk(chat, out, commands).take(line) == 0
    return out.getvalue()


async def test_who_sits_at_the_terminal_may_do_everything() -> None:
    async with chatting() as chat:
        assert "parley sweep" in await shown(chat, "/help")
        assert "Swept" in await shown(chat, "/sweep")
        (entry,) = await chat.store.audit_log(CONSOLE, "", limit=10)
        assert (entry.action, entry.author_id) == ("parley sweep", "ada")


async def test_what_both_groups_call_the_same_is_told_apart_by_the_group() -> None:
    async with chatting() as chat:
        assert "The day ends" in await shown(chat, "/usage")
        assert "The day ends" in await shown(chat, "/chat  usage")
        assert "Nothing was used" in await shown(chat, "/parley usage day  7")
        assert "no such command" in await shown(chat, "/parley")


class Files:
    """Commands that answer with files."""

    def __init__(self, *names: str) -> None:
        self._files = tuple(ReplyFile(name=name, data=name.encode()) for name in names)

    async def handle(self, call: CommandCall) -> CommandReply:
        return CommandReply(text="Here.", files=self._files)


async def test_a_replys_files_are_written_beside_what_is_there_and_named(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.zip").write_text("mine")
    async with chatting() as chat:
        assert "Written here: data-1.zip" in await shown(chat, "/export", Files("data.zip"))
        assert "data-2.zip" in await shown(chat, "/export", Files("data.zip"))
    assert Path("data.zip").read_text() == "mine"
    assert Path("data-1.zip").read_text() == Path("data-2.zip").read_text() == "data.zip"
    assert Path("data-1.zip").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["../up.zip", "/tmp/up.zip", "a/../../up.zip", "..", "", "\x1b[2Jup.zip"])
async def test_no_name_of_a_file_leads_out_of_the_folder(name, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    async with chatting() as chat:
        assert "Written here" in await shown(chat, "/export", Files(name))
    assert len(list(folder.iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


async def test_a_file_that_can_not_be_written_is_told(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    async with chatting() as chat:
        assert "could not be written here" in await shown(chat, "/export", Files("data.zip"))
