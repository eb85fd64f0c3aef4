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
from bot.chat.rules import RuleBook
from bot.chat.run import LEASE, STORE_PAUSE, TurnRun, TurnSettings, end_all
from bot.chat.shares import Shares, spot_of
from bot.chat.terms import Terms, TermsOf
from bot.clock import Clock, time_limit
from bot.llm.protocol import LLMClient
from store import Claim, ConversationKey, NewMessage, Stopped, Store, StoreError, StoreUnavailable
from store.protocol_sharing import Sharing

POLL = timedelta(seconds=2)
"""How long an idle worker waits before it looks for turns that nobody told it of: another process's, or a dead one's."""

log = structlog.get_logger(__name__)


class Turns:
    """Carries out the turns of the platforms whose surfaces it is given."""

    def __init__(
        self,
        store: Store,
        model: LLMClient,
        surfaces: Mapping[str, Surface],
        settings: TurnSettings,
        clock: Clock,
        *,
        terms: TermsOf | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        """`terms` tells what holds for a turn when it is claimed; left out, all are answered by `model` as the settings say,
        without limits. `sharing` is where other replicas on the store keep their pace with us; left out, there are none."""
        self._store = store
        self._terms = terms or (lambda key: Terms(model=model, persona=settings.system_prompt))
        self._surfaces = surfaces
        self._settings = settings
        self._clock = clock
        self._pacers = Pacers(clock, sharing)
        self._slots = asyncio.Semaphore(settings.concurrent)
        self._shares = Shares(settings.concurrent, clock)
        self._suspects = asyncio.Lock()
        self._woken = asyncio.Event()
        self._runs: dict[int, TurnRun] = {}
        self._carried_out: dict[int, asyncio.Task[None]] = {}
        """By their conversations, as the runs."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: set[asyncio.Task[int | None]] = set()
        self._draining = False
        self._rules: RuleBook | None = None
        self._changes = 0
        """Counts the changes of the rules: a pause that began while a turn was being claimed is seen by it."""
        self._trouble: StoreError | None = None
        """Why the last turn could be neither carried out nor handed back, or none be claimed."""
        self._settled = asyncio.Event()
        """Set, and replaced, whenever a turn has ended here."""
        self._claiming = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def running(self) -> int:
        """How many turns are being carried out here."""
        return len(self._tasks)

    def obey(self, rules: RuleBook) -> None:
        """Stop what runs where `rules` pause it, and look for work where they don't, whenever they change.

        What is visible of an answer stays, marked as stopped; a turn of which nothing is visible waits until it is resumed.
        """
        self._rules = rules
        rules.on_change(self._rules_changed)

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
        self._shares.heard(message.key)
        has_room = not self._slots.locked() and spot_of(message.key) not in self._shares.left_out()
        if self._draining or not self._claiming.is_set() or not has_room:
            conversation_id = await self._store.accept(message)
            if conversation_id is not None:
                self.wake(conversation_id)
            return conversation_id
        await self._slots.acquire()
        since, changes, claim = self._clock.monotonic(), self._changes, None
        self._shares.took(message.key)
        try:
            accepted = await self._store.accept_and_claim(
                message,
                lease=LEASE,
                window=self._settings.history_messages,
                per_workspace=self._settings.per_workspace,
            )
            if accepted is None:
                return None
            claim = accepted.claim
        finally:
            if claim is None:
                self._shares.gave_back(message.key)
                self._slots.release()
        if claim is None:
            self.wake(accepted.conversation_id)
        else:
            self._start(self._run_of(claim, since, changes))
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

    async def quiet(self, conversation_id: int, key: ConversationKey) -> None:
        """Wait until nothing is queued or under way in a conversation, or its place is paused and what is queued waits.

        Raises:
            StoreUnavailable: also when a turn can't go on because nothing can be written; it is kept.
        """
        while True:
            settled = self._settled
            if not await self._store.busy(conversation_id) or self._is_paused(key):
                return
            await settled.wait()
            if await self._store.busy(conversation_id):
                await self._store.check()
                # A disk with room for one page more passes the check, and yet takes no turn.
                if self._trouble is not None:
                    raise StoreUnavailable(str(self._trouble)) from self._trouble

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
                    self._shares.took(run.claim.key)
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
        since, changes = self._clock.monotonic(), self._changes
        try:
            claim = await self._store.claim(
                lease=LEASE,
                window=self._settings.history_messages,
                platforms=tuple(self._surfaces),
                per_workspace=self._settings.per_workspace,
                but=self._shares.left_out(),
            )
        except StoreError as exc:
            log.error("turns.claim_failed", reason=str(exc))
            self._trouble = exc
            self._tell_settled()
            await self._clock.sleep(STORE_PAUSE)
            return None
        self._trouble = None
        return None if claim is None else self._run_of(claim, since, changes)

    def _tell_settled(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()

    def _rules_changed(self) -> None:
        self._changes += 1
        for run in self._runs.values():
            self._pause(run)
        self._woken.set()  # something may have been resumed
        self._tell_settled()  # or something paused that somebody waits for

    def _pause(self, run: TurnRun) -> None:
        if self._is_paused(run.claim.key):
            run.pause()

    def _is_paused(self, key: ConversationKey) -> bool:
        return self._rules is not None and self._rules.paused(key.platform, key.workspace, key.channel)

    def _run_of(self, claim: Claim, since: timedelta, changes: int) -> TurnRun:
        """`changes` is their count before the claim was asked for. Nothing is claimed where the store knows of a pause; the
        rules that we know may be older than the store's, so they are asked only if they have changed meanwhile."""
        surface = self._surfaces[claim.key.platform]
        terms = self._terms(claim.key)
        run = TurnRun(claim, self._store, terms, surface, self._settings, self._clock, since, self._suspects)
        if changes != self._changes:
            self._pause(run)
        return run

    def _start(self, run: TurnRun) -> None:
        conversation_id = run.claim.hold.conversation_id
        former = self._carried_out.get(conversation_id)
        if former is not None:
            # Its lease is over, since we could claim: the clock was set, or the process stood still. It learns of it now.
            self._runs[conversation_id].doubt()
        task = asyncio.create_task(run.carry_out(self._pacers, former), name=f"turn {run.claim.turn.id}")
        self._runs[conversation_id] = run
        self._carried_out[conversation_id] = task
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._shares.gave_back(run.claim.key)
            if self._runs.get(conversation_id) is run:
                del self._runs[conversation_id]
                del self._carried_out[conversation_id]
            self._slots.release()
            self._woken.set()  # the next turn of this conversation can be claimed now
            self._trouble = run.trouble
            self._tell_settled()

        task.add_done_callback(ended)
