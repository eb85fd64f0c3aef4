"""The reading of people's files, before the model is asked: what can be read is kept with its message, the rest is named.

A file is read once: its bytes, or why they can't be had, are stored, and whoever carries the turn out next finds them there.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import structlog

from bot.chat import words
from bot.chat.attachments import (
    PICTURE_BYTES,
    TEXT_BYTES,
    Kind,
    kind_of,
    unreadable_data,
    unreadable_label,
)
from bot.chat.protocol import Address, DeliveryError, FileOffer, FileUnreadable, Surface
from bot.clock import Clock, time_limit
from bot.llm.visible import without_surrogates
from store import LARGE_FILES, SMALL_FILE, SMALL_FILES, TOO_FAR_BACK, Attachment, Message

AT_ONCE = 4
DEADLINE = timedelta(seconds=15)
"""What one file may take, its server's silence included: a person waits for the answer meanwhile."""

log = structlog.get_logger(__name__)


class Reading:
    """Reads the files of one turn. `keep` stores what was read of a message's file, or why nothing was."""

    def __init__(
        self,
        surface: Surface,
        clock: Clock,
        *,
        turn_id: int,
        sees_images: bool,
        keep: Callable[[int, int, bytes | None, str], Awaitable[None]],
    ) -> None:
        self._surface = surface
        self._clock = clock
        self._turn_id = turn_id
        self._sees_images = sees_images
        self._keep = keep
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def read(self, address: Address, window: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return `window` with every file read that came with a message of the turn and was not read yet.

        All that could be read is kept; as in the store's windows, only the newest `LARGE_FILES` and `SMALL_FILES` of it are
        in what is returned. Pictures are left alone when the model can't see: another model may, later.

        Raises:
            StoreError: from `keep`.
        """
        wanted = {
            (message.id, file.number): (message, file)
            for message in window
            if message.turn_id == self._turn_id
            for file in message.attachments
            if self._wanted(file)
        }
        if not wanted:
            return window
        pictures = [name for name, (_, file) in wanted.items() if kind_of(file.name, file.media_type) is Kind.PICTURE]
        large, small = frozenset(pictures[-LARGE_FILES:]), frozenset(list(wanted)[-SMALL_FILES:])
        tasks = {
            name: asyncio.create_task(
                self._read(address, *found, held_large=name in large, held_small=name in small), name="attachment"
            )
            for name, found in wanted.items()
        }
        try:
            await asyncio.gather(*tasks.values())
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())
        read = {name: task.result() for name, task in tasks.items()}
        log.info("turn.files_read", files=len(read), unreadable=sum(bool(file.problem) for file in read.values()))
        return tuple(
            replace(message, attachments=tuple(read.get((message.id, file.number), file) for file in message.attachments))
            for message in window
        )

    def _wanted(self, file: Attachment) -> bool:
        if file.data is not None or file.problem:
            return False
        return self._sees_images or kind_of(file.name, file.media_type) is not Kind.PICTURE

    async def _read(
        self, address: Address, message: Message, file: Attachment, *, held_large: bool, held_small: bool
    ) -> Attachment:
        data, problem = None, unreadable_label(file.name, file.media_type, file.size)
        if not problem:
            async with self._gate:
                data, problem = await self._fetch(address, message, file)
        await self._keep(message.id, file.number, data, problem)
        if data is not None and not (held_large if len(data) > SMALL_FILE else held_small):
            data, problem = None, TOO_FAR_BACK  # a burst may come with a gigabyte
        return replace(file, data=data, problem=problem)

    async def _fetch(self, address: Address, message: Message, file: Attachment) -> tuple[bytes | None, str]:
        offer = FileOffer(name=file.name, media_type=file.media_type, size=file.size, url=file.url)
        limit = PICTURE_BYTES if kind_of(file.name, file.media_type) is Kind.PICTURE else TEXT_BYTES
        try:
            async with time_limit(self._clock, DEADLINE):
                data = await self._surface.read_file(address, message.platform_id, offer, limit=limit)
        except TimeoutError:
            return None, words.READ_TOO_SLOWLY
        except FileUnreadable as exc:
            return None, without_surrogates(str(exc).replace("\0", "")) or words.OUT_OF_REACH
        except DeliveryError:
            return None, words.OUT_OF_REACH
        problem = unreadable_data(file.name, file.media_type, file.size, data)
        return (None, problem) if problem else (data, "")
