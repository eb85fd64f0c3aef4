"""The worker: takes messages in, claims turns and has them carried out, and leaves none half done when it ends.

Turns of different conversations run in parallel, one conversation's never. How one turn is carried out stands in
`bot.chat.run`.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import timedelta

import structlog

from bot.chat.pacing import Pacers
from bot.chat.protocol import Surface
from bot.chat.run import LEASE, STORE_PAUSE, TurnRun, TurnSettings, end_all
from bot.clock import Clock, time_limit
from bot.llm.protocol import LLMClient
from store import Claim, NewMessage, Stopped, Store, StoreError

POLL = timedelta(seconds=2)
"""How long an idle worker waits before it looks for turns that nobody told it of: another process's, or a dead one's."""

log = structlog.get_logger(__name__)


class Turns:
    """Carries out the turns of the platforms whose surfaces it is given."""

    def __init__(
        self, store: Store, model: LLMClient, surfaces: Mapping[str, Surface], settings: TurnSettings, clock: Clock
    ) -> None:
        self._store = store
        self._model = model
        self._surfaces = surfaces
        self._settings = settings
        self._clock = clock
        self._pacers = Pacers(clock)
        self._slots = asyncio.Semaphore(settings.concurrent)
        self._woken = asyncio.Event()
        self._runs: dict[int, TurnRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: set[asyncio.Task[int | None]] = set()
        self._draining = False
        self._settled = asyncio.Event()
        """Set, and replaced, whenever a turn has ended here."""
        self._claiming = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def running(self) -> int:
        """How many turns are being carried out here."""
        return len(self._tasks)

    async def accept(self, message: NewMessage) -> int | None:
        """Store a message, and begin its turn at once when there is room for one; else it waits, and is seen to.

        Returns as `Store.accept`: the conversation's id once it is kept for good, None when it is known already.

        Raises:
            UnstorableText, StoreUnavailable: nothing was stored.
        """
        # A caller that is cancelled meanwhile does not take a turn with it that was begun by then.
        task = asyncio.create_task(self._accept(message), name="accept")
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        return await asyncio.shield(task)

    async def _accept(self, message: NewMessage) -> int | None:
        if self._draining or not self._claiming.is_set() or self._slots.locked():
            conversation_id = await self._store.accept(message)
            if conversation_id is not None:
                self.wake(conversation_id)
            return conversation_id
        await self._slots.acquire()
        since, claim = self._clock.monotonic(), None
        try:
            accepted = await self._store.accept_and_claim(message, lease=LEASE, window=self._settings.history_messages)
            if accepted is None:
                return None
            claim = accepted.claim
        finally:
            if claim is None:
                self._slots.release()
        if claim is None:
            self.wake(accepted.conversation_id)
        else:
            self._start(self._run_of(claim, since))
        return accepted.conversation_id

    def wake(self, conversation_id: int) -> None:
        """Say that a conversation has something new. Saying so too often does no harm, not saying so costs `POLL`."""
        self._woken.set()
        if run := self._runs.get(conversation_id):
            run.news()

    async def stop(self, conversation_id: int) -> Stopped:
        """Stop what is running and what is queued in a conversation, wherever it runs.

        Raises:
            StoreUnavailable.
        """
        stopped = await self._store.stop(conversation_id)
        if run := self._runs.get(conversation_id):
            run.stop()
        return stopped

    async def retry(self, conversation_id: int) -> bool:
        """Ask the last question again; False when there is none, or something is on its way already.

        Raises:
            StoreUnavailable.
        """
        again = await self._store.retry(conversation_id)
        if again:
            self._woken.set()
        return again

    def revised(self, conversation_id: int) -> None:
        """Say that a question was edited which is to be answered anew (`Redo.AGAIN`): at once, in the same messages.

        Not saying so costs `RENEWAL`, as it does for a turn that runs elsewhere.
        """
        self._look_again(conversation_id)

    def retracted(self, conversation_ids: Collection[int]) -> None:
        """Say that messages of these conversations were deleted: an answer that came of them alone is taken back.

        Not saying so costs `RENEWAL`, as it does for a turn that runs elsewhere.
        """
        for conversation_id in conversation_ids:
            self._look_again(conversation_id)

    def _look_again(self, conversation_id: int) -> None:
        self._woken.set()
        if run := self._runs.get(conversation_id):
            run.doubt()

    async def quiet(self, conversation_id: int) -> None:
        """Wait until nothing is queued or under way in a conversation.

        Raises:
            StoreUnavailable: also when a turn can't go on because nothing can be written; it is kept.
        """
        while True:
            settled = self._settled
            if not await self._store.busy(conversation_id):
                return
            await settled.wait()
            if await self._store.busy(conversation_id):
                await self._store.check()

    async def run(self) -> None:
        """Claim and carry out turns until `drain`; when cancelled instead, hand back what runs."""
        self._claiming.set()
        try:
            while not self._draining:
                await self._slots.acquire()
                self._woken.clear()
                run = None if self._draining else await self._claim()
                if run is None:
                    self._slots.release()
                    await self._rest()
                else:
                    self._start(run)
        except asyncio.CancelledError:
            await self._hand_back()
            raise
        finally:
            self._claiming.clear()
            self._ended.set()

    async def drain(self, patience: timedelta) -> None:
        """Claim nothing more, let running turns go on for `patience`, then hand the rest back for another process."""
        self._draining = True
        self._woken.set()
        with suppress(TimeoutError):
            async with time_limit(self._clock, patience):
                if self._claiming.is_set():
                    await self._ended.wait()
                if self._accepting:
                    await asyncio.wait(self._accepting)
                while self._tasks:
                    await asyncio.wait(self._tasks)
        await self._hand_back()

    async def _hand_back(self) -> None:
        if self._tasks:
            log.info("turns.handed_back", count=len(self._tasks))
            await end_all(*self._tasks)

    async def _rest(self) -> None:
        if self._draining:
            return
        with suppress(TimeoutError):
            async with time_limit(self._clock, POLL):
                await self._woken.wait()

    async def _claim(self) -> TurnRun | None:
        since = self._clock.monotonic()
        try:
            claim = await self._store.claim(
                lease=LEASE, window=self._settings.history_messages, platforms=tuple(self._surfaces)
            )
        except StoreError as exc:
            log.error("turns.claim_failed", reason=str(exc))
            await self._clock.sleep(STORE_PAUSE)
            return None
        return None if claim is None else self._run_of(claim, since)

    def _run_of(self, claim: Claim, since: timedelta) -> TurnRun:
        surface = self._surfaces[claim.key.platform]
        return TurnRun(claim, self._store, self._model, surface, self._settings, self._clock, since)

    def _start(self, run: TurnRun) -> None:
        conversation_id = run.claim.hold.conversation_id
        task = asyncio.create_task(run.carry_out(self._pacers), name=f"turn {run.claim.turn.id}")
        self._runs[conversation_id] = run
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if self._runs.get(conversation_id) is run:
                del self._runs[conversation_id]
            self._slots.release()
            self._woken.set()  # the next turn of this conversation can be claimed now
            self._settled.set()
            self._settled = asyncio.Event()

        task.add_done_callback(ended)
