"""The worker: claims turns, carries each out under its lease, and leaves none half done.

A turn may have been accepted by another process, and may be finished by a third: all that it needs comes with the claim.
Whoever holds a turn renews its lease; whoever has lost it writes nothing more, in the store (the epoch is checked in every
write) and on the platform (`_Run.guard`). Turns of different conversations run in parallel, one conversation's never.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import structlog

from bot.chat.delivery import Reply
from bot.chat.generation import Generation, Outcome
from bot.chat.history import build_prompt
from bot.chat.pacing import Pacers
from bot.chat.protocol import Address, DeliveryError, Surface
from bot.chat.words import TurnError, final_state, shown
from bot.clock import Clock, time_limit
from bot.llm.protocol import LLMClient, PromptMessage
from store import Absorbed, Claim, LeaseLost, Message, NewMessage, Stopped, Store, StoreError, Turn, TurnState

LEASE = timedelta(seconds=30)
RENEWAL = timedelta(seconds=10)
POLL = timedelta(seconds=2)
"""How long an idle worker waits before it looks for turns that nobody told it of: another process's, or a dead one's."""
STORE_PAUSE = timedelta(seconds=2)
"""How long claiming, or a turn, rests after the store failed."""
ATTEMPTS = 3
"""Claims after which a turn that never settles is taken to be the reason, and set aside."""
NONCE_LENGTH = 25
"""Discord takes no longer nonce."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """What the operator chose: the persona, how much history a prompt holds, how many turns run at once.

    `steady_window`: prompts begin at the same message for several turns (`bot.chat.history`).
    """

    system_prompt: str
    history_messages: int
    history_tokens: int
    concurrent: int
    steady_window: bool = False


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
        self._runs: dict[int, _Run] = {}
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

    async def quiet(self, conversation_id: int) -> None:
        """Wait until nothing is queued or under way in a conversation.

        Raises:
            StoreUnavailable.
        """
        while True:
            settled = self._settled
            if not await self._store.busy(conversation_id):
                return
            await settled.wait()

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
            await _ended(*self._tasks)

    async def _rest(self) -> None:
        if self._draining:
            return
        with suppress(TimeoutError):
            async with time_limit(self._clock, POLL):
                await self._woken.wait()

    async def _claim(self) -> "_Run | None":
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

    def _run_of(self, claim: Claim, since: timedelta) -> "_Run":
        surface = self._surfaces[claim.key.platform]
        return _Run(claim, self._store, self._model, surface, self._settings, self._clock, since)

    def _start(self, run: "_Run") -> None:
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


class _Run:
    """One turn in the hands of this process."""

    def __init__(
        self,
        claim: Claim,
        store: Store,
        model: LLMClient,
        surface: Surface,
        settings: TurnSettings,
        clock: Clock,
        since: timedelta,
    ) -> None:
        """`since` is the time before the claim was asked for: the lease can't have begun earlier."""
        self.claim = claim
        self._store = store
        self._surface = surface
        self._settings = settings
        self._clock = clock
        self._began = since
        self._held_until = since + LEASE
        self._reply: Reply | None = None
        self._generation = Generation(
            model,
            prompt=self._prompt,
            tokens=settings.history_tokens,
            absorb=self._absorb,
            readdress=self._readdress,
            show=self._show,
        )

    def news(self) -> None:
        self._generation.news()

    def stop(self) -> None:
        self._generation.stop()

    def guard(self) -> None:
        """Raise `LeaseLost` when the lease is over by our own stopwatch: a paused process must not post late."""
        if self._clock.monotonic() >= self._held_until:
            raise LeaseLost(f"turn {self.claim.turn.id} was held longer than its lease")

    async def carry_out(self, pacers: Pacers) -> None:
        """Bring the turn to its end, or leave it for somebody else. An outermost loop: nothing gets out but cancellation."""
        turn = self.claim.turn
        structlog.contextvars.bind_contextvars(turn=turn.id, conversation=turn.conversation_id)
        log.info("turn.claimed", platform=self.claim.key.platform, attempt=turn.attempts, recovered=self.claim.recovered)
        work = asyncio.create_task(self._work(pacers), name=f"work on turn {turn.id}")
        renewal = asyncio.create_task(self._keep_lease(), name=f"lease of turn {turn.id}")
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _ended(work, renewal)
            await self._hand_back()
            raise
        await _ended(work, renewal)
        for task in (work, renewal):
            if not task.cancelled() and (failure := task.exception()):
                await self._failed(failure)

    async def _failed(self, failure: BaseException) -> None:
        if isinstance(failure, LeaseLost):
            log.warning("turn.lost", reason=str(failure))
        elif isinstance(failure, StoreError):
            # A full disk is not the message's fault: the attempt is not counted, and the store gets a moment.
            log.error("turn.abandoned", reason=str(failure))
            await self._clock.sleep(STORE_PAUSE)
            await self._hand_back()
        else:
            log.error("turn.crashed", exc_info=failure)

    async def _hand_back(self) -> None:
        try:
            await self._store.release(self.claim.hold)
            log.info("turn.handed_back")
        except StoreError as exc:
            log.warning("turn.not_handed_back", reason=str(exc))

    async def _keep_lease(self) -> None:
        while True:
            await self._clock.sleep(RENEWAL)
            since = self._clock.monotonic()
            try:
                renewal = await self._store.renew(self.claim.hold, lease=LEASE)
            except LeaseLost:
                raise
            except StoreError as exc:
                self.guard()
                log.warning("turn.not_renewed", reason=str(exc))
                continue
            self._held_until = since + LEASE
            if renewal.stop:
                self.stop()
            if renewal.waiting:
                self.news()

    async def _work(self, pacers: Pacers) -> None:
        claim = self.claim
        turn = claim.turn
        async with Reply(
            self._surface,
            Address.decode(turn.address),
            nonce=lambda number: nonce(turn, number),
            parts=claim.parts,
            reconcile=claim.recovered,
            pacers=pacers,
            clock=self._clock,
            record=lambda number, platform_id: self._store.record_part(claim.hold, number, platform_id),
            guard=self.guard,
        ) as self._reply:
            try:
                outcome = await self._outcome()
                if outcome is None:
                    state = TurnState.PARKED
                else:
                    await self._reply.complete(shown(outcome.answer, outcome.error))
                    state = final_state(outcome.answer, outcome.error)
            except DeliveryError as exc:
                log.warning("turn.undeliverable", reason=str(exc), kind=type(exc).__name__)
                state = TurnState.UNDELIVERABLE
        await self._store.settle(claim.hold, state)
        log.info(
            "turn.finished",
            platform=claim.key.platform,
            state=state.value,
            seconds=round((self._clock.monotonic() - self._began).total_seconds(), 3),
            attempts=turn.attempts,
        )

    async def _outcome(self) -> Outcome | None:
        """Find out what the turn says, and have it stored; None when it is set aside without another word."""
        claim = self.claim
        if claim.turn.attempts > 2 * ATTEMPTS:
            return None  # even saying that it is set aside failed each time
        if claim.turn.state is TurnState.DELIVERING:
            return Outcome(answer=claim.answer, error=claim.turn.error)
        if claim.turn.attempts > ATTEMPTS:
            outcome = Outcome(error=TurnError.PARKED)
        else:
            outcome = await self._generation.run(claim.window)
        await self._store.finish(claim.hold, outcome.answer, error=outcome.error)
        return outcome

    def _prompt(self, window: Sequence[Message], tokens: int) -> list[PromptMessage]:
        return build_prompt(
            self._settings.system_prompt,
            window,
            tokens=tokens,
            steady=self._settings.steady_window,
            complete=len(window) < self._settings.history_messages,
        )

    async def _absorb(self) -> Absorbed | None:
        return await self._store.absorb(self.claim.hold, window=self._settings.history_messages)

    def _readdress(self, address: str) -> None:
        if self._reply is not None:
            self._reply.readdress(Address.decode(address))

    def _show(self, text: str) -> None:
        if self._reply is not None:
            self._reply.show(text)


def nonce(turn: Turn, number: int) -> str:
    """Derive a part's nonce from its turn, so that a restart repeats it.

    The time of queueing stands in it too: a new store counts its turns from 1 again, and Discord would answer a nonce that
    it saw minutes ago with the message of the old turn.
    """
    name = f"{turn.id}/{turn.queued_at.isoformat()}/{number}"
    return base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:NONCE_LENGTH].lower()


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
