"""The terminal as a platform: lines in, answers out, on a screen or in a pipe.

It goes the way of every message (intake, store, turns, delivery), so a conversation at the terminal survives what others
survive. What a model says is cleaned of control characters: it must not drive the terminal.
"""

import asyncio
import itertools
import os
import re
import uuid
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PurePath
from typing import TextIO

from rich.console import Console
from rich.status import Status

from bot import exits
from bot.chat import words_commands
from bot.chat.callers import MEMBER
from bot.chat.commands import Commands, Group
from bot.chat.intake import Intake
from bot.chat.policy import CONSOLE
from bot.chat.protocol import (
    NO_CONTROLS,
    Address,
    Budget,
    CommandCall,
    Controls,
    FileOffer,
    FileUnreadable,
    IncomingMessage,
    Limits,
    Measure,
    MessageGone,
    Place,
    ReplyFile,
    Unreachable,
    Write,
)
from bot.chat.turns import Turns
from bot.clock import Clock
from store import ConversationKey, Store, StoreError

# Everything that moves the cursor, rings or changes colours; line feeds and tabs stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

REMEMBERED = 16
"""Messages whose text is kept to be added to: more than one reply has parts, and nothing grows with the talk."""


class ConsoleSurface:
    """Writes answers as they grow. A terminal can't take back what it showed, so an edit adds to it or begins anew."""

    # A screen takes any pace, 25 writes a second look like a stream; no answer is longer than 1,000,000 characters.
    limits = Limits(
        part=1 << 24,
        parts=1,
        measure=Measure.CHARACTERS,
        pace=timedelta(milliseconds=40),
        status=timedelta(hours=1),
    )

    def __init__(self, out: TextIO, *, at: Address | None = None) -> None:
        """`at` is where the person at this terminal is; answers to others get a heading."""
        self._out = out
        self._at = at
        self._shown: dict[str, str] = {}
        self._open = False
        """The cursor stands behind an answer, not at the beginning of a line."""
        self._status: Status | None = None
        self._console = Console(file=out) if out.isatty() else None

    def budget(self, address: Address, write: Write) -> Budget:
        return Budget(name=address.platform, pace=self.limits.pace, shared=False)  # each terminal has its own

    async def working(self, address: Address) -> None:
        if self._console is not None and self._status is None:
            self._status = self._console.status("thinking", spinner="dots")
            self._status.start()

    async def post(
        self, address: Address, text: str, *, nonce: str, first: bool = True, controls: Controls = NO_CONTROLS
    ) -> str:
        if nonce not in self._shown:
            self.rest()
            if self._open:
                self._write("\n\n")
            if self._at is not None and (address.channel, address.reply_to) != (self._at.channel, self._at.reply_to):
                self._write(f"{clean(f'(for {address.reply_to} in {address.channel})')}\n")
            self._shown[nonce] = ""
            while len(self._shown) > REMEMBERED:
                del self._shown[next(iter(self._shown))]
            self._add(nonce, clean(text))
        return nonce

    async def post_file(
        self, address: Address, name: str, text: str, *, nonce: str, controls: Controls = NO_CONTROLS
    ) -> str:
        return await self.post(address, text, nonce=nonce)

    async def edit(self, address: Address, message_id: str, text: str, *, controls: Controls = NO_CONTROLS) -> None:
        if message_id not in self._shown:
            raise MessageGone("an earlier process wrote it, on a screen that is gone")
        shown, wanted = self._shown[message_id], clean(text)
        if not wanted.startswith(shown) or message_id != next(reversed(self._shown)):
            self._write("\n\n")
            shown = self._shown[message_id] = ""
        self._add(message_id, wanted[len(shown) :])

    async def delete(self, address: Address, message_id: str) -> None:
        self._shown.pop(message_id, None)

    async def find(self, address: Address, *, nonce: str, text: str) -> str | None:
        return nonce if nonce in self._shown else None

    async def read_file(self, address: Address, message_id: str, file: FileOffer, *, limit: int) -> bytes:
        raise FileUnreadable("nothing but text comes from a terminal")

    def rest(self) -> None:
        """Take the spinner away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def end_line(self) -> None:
        """End the answer's last line, if one was begun."""
        self.rest()
        if self._open:
            self._write("\n")
        self._open = False

    def say(self, text: str) -> None:
        """Write something of our own on a line of its own."""
        self.end_line()
        self._write(clean(text) + "\n")

    def _add(self, message_id: str, text: str) -> None:
        self._shown[message_id] += text
        self._open = True
        self._write(text)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as exc:  # the pipe's reader has left, or the disk of the file is full
            raise Unreachable(f"nothing more can be written to the output ({exc.strerror})") from exc


class ConsoleChat:
    """One person at the terminal, in one conversation."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        turns: Turns,
        commands: Commands,
        surface: ConsoleSurface,
        clock: Clock,
        *,
        user: str,
        channel: str,
    ) -> None:
        self._store = store
        self._intake = intake
        self._turns = turns
        self._commands = commands
        self._surface = surface
        self._clock = clock
        self._user = user
        self._address = address_of(user=user, channel=channel)
        self._key = ConversationKey(platform=CONSOLE, channel=channel, user=user)
        self._answering: int | None = None
        self._stopping: asyncio.Task[None] | None = None

    async def resume(self) -> None:
        """Show the answer that an earlier process did not finish, if there is one."""
        conversation = await self._store.find(self._key)
        if conversation is not None:
            await self._answered(conversation.id)

    async def begin_anew(self) -> None:
        """End the conversation that is there, as `/new` does."""
        await self._command("new")

    async def take(self, line: str) -> int:
        """Answer one line; return the exit code that a pipe should end with if it goes no further, 0 when all is well."""
        text = line.rstrip("\n")
        try:
            if text.startswith("/"):
                self._surface.say(await self._command(text[1:]))
                await self.resume()  # `retry` has begun an answer
                return 0
            outcome = await self._intake.take(self._message(text))
        except StoreError as exc:
            # Who sits here is the operator, so they are told the path and the remedy.
            self._surface.say(f"Your message was not taken: {exc}.")
            return exits.BUSY
        if outcome.notice:
            self._surface.say(outcome.notice)
        if outcome.conversation_id is not None:
            try:
                await self._answered(outcome.conversation_id)
            except StoreError as exc:
                self._surface.say(f"Your message is kept, and answered when that can be kept too: {exc}.")
                return exits.BUSY
        return 0

    def interrupt(self) -> bool:
        """Stop the answer that is on its way; False when there is none."""
        if self._answering is None:
            return False
        self._stopping = asyncio.create_task(self._stop(self._answering), name="console.stop")
        return True

    async def _stop(self, conversation_id: int) -> None:
        with suppress(StoreError):  # the answer simply goes on
            await self._turns.stop(conversation_id)

    async def _answered(self, conversation_id: int) -> None:
        self._answering = conversation_id
        try:
            await self._turns.quiet(conversation_id, self._key)
        finally:
            self._answering = None
        self._surface.end_line()  # not when we are asked to stop: the answer may go on until we have

    async def _command(self, typed: str) -> str:
        name, argument = _first_word(typed)
        if name in tuple(Group):  # both groups have some words, and there is one line to type them in
            word, argument = _first_word(argument)
            name = f"{name} {word}".strip()
        call = CommandCall(
            name=name,
            argument=argument,
            place=Place.DIRECT,
            key=self._key,
            address=self._address,
            author_id=self._user,
            author_name=self._user,
            standing=MEMBER,
            at=self._clock.now(),
        )
        reply = await self._commands.handle(call)
        if not reply.files:
            return reply.text
        return f"{reply.text}\n{await asyncio.to_thread(_kept, reply.files)}"

    def _message(self, text: str) -> IncomingMessage:
        # A terminal has no ids of its own, and nothing is ever delivered twice by it.
        return IncomingMessage(
            place=Place.CHANNEL,
            address=self._address,
            event_id="",
            message_id=uuid.uuid4().hex,
            position=None,
            author_id=self._user,
            author_name=self._user,
            text=text,
            sent_at=self._clock.now(),
            standing=MEMBER,
            addressed=True,
        )


def address_of(*, user: str, channel: str) -> Address:
    """Name the place of a person at the terminal."""
    return Address(platform=CONSOLE, workspace="", channel=channel, reply_to=user)


def _first_word(line: str) -> tuple[str, str]:
    word, _, rest = line.strip().partition(" ")
    return word, rest.strip()


def _kept(files: Collection[ReplyFile]) -> str:
    """Write files into the current directory and say under which names; never in place of what is there."""
    try:
        return f"Written here: {', '.join(str(_write(file)) for file in files)}"
    except OSError as exc:
        return words_commands.file_not_written(exc.strerror or type(exc).__name__)


def _write(file: ReplyFile) -> Path:
    name = PurePath(clean(PurePath(file.name).name) or "file")
    for number in itertools.count():
        path = Path(name if number == 0 else f"{name.stem}-{number}{name.suffix}")
        with suppress(FileExistsError):
            # What it holds was said in private.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
                written.write(file.data)
            return path
    raise AssertionError("numbers do not end")


def clean(text: str) -> str:
    """Take out what would drive the terminal instead of being read."""
    return _CONTROL.sub("", text)
