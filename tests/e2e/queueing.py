"""A process that takes in many messages while nobody works, then works through some, and reports its memory as JSON lines.

python -m tests.e2e.queueing DIRECTORY MESSAGES ANSWERS
"""

import asyncio
import json
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.chat.policy import CONSOLE
from bot.chat.protocol import NO_CONTROLS, Address, Budget, Controls, FileOffer, FileUnreadable, Limits, Measure, Write
from bot.chat.run import TurnSettings
from bot.chat.turns import Turns
from bot.clock import SystemClock
from bot.llm.echo import EchoModel
from bot.telemetry import configure_logging
from store import ConversationKey, NewMessage, Store, open_store

AT_ONCE = 500
EACH = 10
"""Messages of one conversation."""


class Counter:
    """A surface that shows nothing to nobody, and remembers nothing."""

    limits = Limits(part=1 << 20, measure=Measure.CHARACTERS, pace=timedelta())

    def budget(self, address: Address, write: Write) -> Budget:
        return Budget(name=address.channel, pace=self.limits.pace)

    async def working(self, address: Address) -> None:
        """Nobody looks."""

    async def post(
        self, address: Address, text: str, *, nonce: str, first: bool = True, controls: Controls = NO_CONTROLS
    ) -> str:
        return nonce

    async def post_file(
        self, address: Address, name: str, text: str, *, nonce: str, controls: Controls = NO_CONTROLS
    ) -> str:
        return nonce

    async def edit(self, address: Address, message_id: str, text: str, *, controls: Controls = NO_CONTROLS) -> None:
        """Nobody looks."""

    async def delete(self, address: Address, message_id: str) -> None:
        """Nobody looks."""

    async def find(self, address: Address, *, nonce: str, text: str) -> str | None:
        return None

    async def read_file(self, address: Address, message_id: str, file: FileOffer, *, limit: int) -> bytes:
        raise FileUnreadable("nobody sends files here")


def tell(**values: object) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sys.stdout.write(json.dumps({"mib": pages * 4096 / (1 << 20), **values}) + "\n")
    sys.stdout.flush()


def message(number: int) -> NewMessage:
    channel = f"channel {number // EACH}"
    return NewMessage(
        key=ConversationKey(platform=CONSOLE, channel=channel, user="ada"),
        event_id=f"e{number}",
        message_id=f"m{number}",
        position=number,
        author_id="ada",
        author_name="Ada",
        text=f"message {number}: " + "what do you make of this? " * 4,
        address=Address(platform=CONSOLE, workspace="", channel=channel, reply_to="ada").encode(),
        at=datetime.now(UTC),
    )


async def take_in(store: Store, first: int, last: int) -> None:
    for start in range(first, last, AT_ONCE):
        await asyncio.gather(*(store.accept(message(number)) for number in range(start, min(start + AT_ONCE, last))))


async def main(directory: Path, messages: int, answers: int) -> None:
    configure_logging("ERROR", None, (), sys.stderr)
    store = await open_store(f"sqlite:///{directory / 'parley.db'}")
    await take_in(store, 0, AT_ONCE)
    tell(step="begun")
    await take_in(store, AT_ONCE, messages)
    tell(step="queued", queued=(await store.status()).queued)

    settings = TurnSettings(system_prompt="", history_messages=20, history_tokens=8000, concurrent=32)
    turns = Turns(store, EchoModel(), {CONSOLE: Counter()}, settings, SystemClock())
    work = asyncio.create_task(turns.run())
    while (queued := (await store.status()).queued) > messages // EACH - answers:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    tell(step="worked", queued=queued, running=turns.running)
    await turns.drain(timedelta(seconds=30))
    with suppress(asyncio.CancelledError):
        await work
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
