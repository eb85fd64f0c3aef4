"""One turn in the hands of this process: its lease is kept, its answer is found, stored and shown, and it is let go of.

A turn may have been accepted by another process, and may be finished by a third: all that it needs comes with the claim.
Whoever has lost the lease writes nothing more, in the store (the epoch is checked in every write) and on the platform
(`TurnRun.guard`).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from bot.chat.delivery import Reply
from bot.chat.generation import Generation, Outcome
from bot.chat.history import build_prompt
from bot.chat.limits import Refusal, name_of
from bot.chat.money import Prices
from bot.chat.pacing import Pacers
from bot.chat.personas import system_prompt, tokens_of
from bot.chat.prompt_files import remarks
from bot.chat.protocol import Address, Control, Controls, DeliveryError, Surface
from bot.chat.reading import Reading
from bot.chat.spending import ANSWER_TOKENS, Spending
from bot.chat.terms import Terms
from bot.chat.turn_names import nonce, tried_alone
from bot.chat.words import TurnError, final_state, shown
from bot.chat.words_limits import nearly
from bot.clock import Clock, time_limit
from bot.llm.protocol import PromptMessage
from store import Absorbed, Claim, Ending, LeaseLost, Message, Payer, Role, Store, StoreError, TurnState

LEASE = timedelta(seconds=30)
RENEWAL = timedelta(seconds=10)
STORE_PAUSE = timedelta(seconds=2)
"""How long claiming, or a turn, rests after the store failed."""
ATTEMPTS = 3
"""From this claim on a turn that never has an outcome is taken for the reason: it asks the model while no other such turn
does, and is set aside when that ends the process too. The others only ran beside it."""
DELIVERIES = 100
"""Claims after which a turn that is never shown is set aside without another word. Most of the time it only waits for its
place among the writes of a busy workspace: who is killed every second for a minute must not take it for the reason."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """What the operator chose: the persona, how much history a prompt holds, how many turns run at once.

    `steady_window`: prompts begin at the same message for several turns (`bot.chat.history`). `sees_images`: the model
    can be shown pictures. `answer_tokens` is the longest answer that budgets reckon with; `prices` are those of the models
    that may be asked. `per_workspace`: turns of one workspace that run at once, on all replicas, where its operators chose
    no number; None for no limit.
    """

    system_prompt: str
    history_messages: int
    history_tokens: int
    concurrent: int
    steady_window: bool = False
    sees_images: bool = False
    per_workspace: int | None = None
    answer_tokens: int = ANSWER_TOKENS
    prices: Prices = field(default_factory=Prices)


class _Paused(Exception):
    """Operators paused the bot before anything was visible: the turn is let go of, and waits."""


class _Revised(Exception):
    """The question was edited: the turn is let go of, and begun anew by whoever claims it next."""


class TurnRun:
    """One turn, from its claim to its end."""

    def __init__(
        self,
        claim: Claim,
        store: Store,
        terms: Terms,
        surface: Surface,
        settings: TurnSettings,
        clock: Clock,
        since: timedelta,
        suspects: asyncio.Lock,
    ) -> None:
        """`since` is the time before the claim was asked for: the lease can't have begun earlier. `suspects` is held by the
        one turn of this process that may be the reason why others died."""
        self.claim = claim
        self.trouble: StoreError | None = None
        """Why the turn could not be handed back."""
        self._store = store
        self._terms = terms
        self._surface = surface
        self._settings = settings
        self._clock = clock
        self._suspects = suspects
        self._began = since
        self._held_until = since + LEASE
        self._reply: Reply | None = None
        self._address: Address
        """Known from the beginning of the work: one that can't be read ends the turn, and must not end who claimed it."""
        self._revised = False
        self._paused = self._stopped = self._over = False
        self._doubt = asyncio.Event()
        # What the model read last, for the remarks on files under its answer.
        self._read, self._tokens = claim.window, settings.history_tokens
        self._reading = Reading(
            surface,
            clock,
            turn_id=claim.turn.id,
            sees_images=settings.sees_images,
            keep=lambda message_id, number, data, problem: store.keep_attachment(
                claim.hold, message_id, number, data, problem=problem
            ),
        )
        self._spending = Spending(
            prices=settings.prices,
            answer_tokens=settings.answer_tokens,
            limits=terms.limits,
            reserve=lambda order: store.reserve(claim.hold, order),
        )
        self._generation = Generation(
            terms.model,
            prepare=self._prepare,
            prompt=self._prompt,
            tokens=settings.history_tokens,
            afford=self._afford,
            spending=self._spending,
            absorb=self._absorb,
            readdress=self._readdress,
            show=self._show,
        )
        if claim.stop:
            self.stop()

    def news(self) -> None:
        if not self._over:
            self._generation.news()

    def stop(self) -> None:
        self._stopped = True
        self._end_generation()

    def pause(self) -> None:
        """End as by `stop` if something is visible, else let go of the turn: it is carried out when that is resumed."""
        self._paused = True
        self._end_generation()

    def doubt(self) -> None:
        """Ask the store at once whether the turn goes on: what it answers may have been edited or deleted."""
        self._doubt.set()

    def guard(self) -> None:
        """Raise `LeaseLost` when the lease is over by our own stopwatch: a paused process must not post late."""
        if self._clock.monotonic() >= self._held_until:
            raise LeaseLost(f"turn {self.claim.turn.id} was held longer than its lease")

    async def carry_out(self, pacers: Pacers, former: asyncio.Task[None] | None = None) -> None:
        """Bring the turn to its end, or leave it for somebody else. An outermost loop: nothing gets out but cancellation.

        `former` carries out the conversation's turn before, or this one under a lease that is over: it is waited for.
        """
        turn = self.claim.turn
        structlog.contextvars.bind_contextvars(turn=turn.id, conversation=turn.conversation_id)
        log.info("turn.claimed", platform=self.claim.key.platform, attempt=turn.attempts, recovered=self.claim.recovered)
        try:
            await self._hold(pacers, former)
        finally:  # they hold us, too: the window would stay in memory until Python looks for such circles
            self._over, self._reply = True, None
            del self._generation

    async def _hold(self, pacers: Pacers, former: asyncio.Task[None] | None) -> None:
        """Do the work for as long as the lease is kept."""
        turn = self.claim.turn
        work = asyncio.create_task(self._work(pacers, former), name=f"work on turn {turn.id}")
        renewal = asyncio.create_task(self._keep_lease(), name=f"lease of turn {turn.id}")
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await end_all(work, renewal)
            await self._hand_back()
            raise
        await end_all(work, renewal)
        for task in (work, renewal):
            if not task.cancelled() and (failure := task.exception()):
                await self._failed(failure)

    async def _failed(self, failure: BaseException) -> None:
        if isinstance(failure, _Revised | _Paused):
            log.info("turn.revised" if isinstance(failure, _Revised) else "turn.paused")
            await self._hand_back()
        elif isinstance(failure, LeaseLost):
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
            await self._store.release(self.claim.hold, charge=self._spending.charge)
            log.info("turn.handed_back")
        except StoreError as exc:
            self.trouble = exc
            log.warning("turn.not_handed_back", reason=str(exc))

    async def _keep_lease(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with time_limit(self._clock, RENEWAL):
                    await self._doubt.wait()
            self._doubt.clear()
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
            self._revised = renewal.revised
            if renewal.stop:
                self.stop()
            if renewal.waiting:
                self.news()

    async def _work(self, pacers: Pacers, former: asyncio.Task[None] | None) -> None:
        if former is not None:
            await asyncio.wait({former})
        try:
            state = await self._show_all(pacers)
        except DeliveryError as exc:
            log.warning("turn.undeliverable", reason=str(exc), kind=type(exc).__name__)
            state = TurnState.UNDELIVERABLE
        await self._store.settle(self.claim.hold, state)
        log.info(
            "turn.finished",
            platform=self.claim.key.platform,
            state=state.value,
            seconds=round((self._clock.monotonic() - self._began).total_seconds(), 3),
            attempts=self.claim.turn.attempts,
        )

    async def _show_all(self, pacers: Pacers) -> TurnState:
        """Show the reply from its first word to its last, and tell the state in which that leaves the turn."""
        claim = self.claim
        turn = claim.turn
        self._address = Address.decode(turn.address)
        async with Reply(
            self._surface,
            self._address,
            nonce=lambda number: nonce(turn, number),
            parts=claim.parts,
            reconcile=claim.recovered,
            pacers=pacers,
            clock=self._clock,
            record=lambda number, platform_id: self._store.record_part(claim.hold, number, platform_id),
            guard=self.guard,
            controls=Controls(turn_id=turn.id, offered=(Control.STOP,)),
            behind=_first_answered(claim),
        ) as self._reply:
            outcome = await self._outcome()
            if outcome is None:
                return TurnState.PARKED
            if outcome.error == TurnError.RETRACTED:
                return await self._take_back(self._reply)
            await self._reply.complete(shown(outcome.answer, outcome.error, self._remarks()), self._afterwards(outcome))
            return final_state(outcome.answer, outcome.error)

    async def _outcome(self) -> Outcome | None:
        """Find out what the turn says, and have it stored; None when it is set aside without another word."""
        claim = self.claim
        if claim.turn.attempts > DELIVERIES:
            return None
        if claim.turn.error == TurnError.RETRACTED:
            return Outcome(error=TurnError.RETRACTED)
        if claim.turn.state is TurnState.DELIVERING:
            return Outcome(answer=claim.answer, error=claim.turn.error)
        outcome = await (self._generate() if claim.turn.attempts < ATTEMPTS else self._generate_alone())
        if self._revised:
            raise _Revised
        if self._paused and not self._stopped and outcome.error == TurnError.STOPPED:
            raise _Paused
        kept = await self._store.finish(claim.hold, outcome.answer, error=outcome.error, charge=self._spending.charge)
        return outcome if kept else Outcome(error=TurnError.RETRACTED)

    async def _generate(self) -> Outcome:
        return await self._generation.run(self.claim.window)

    def _end_generation(self) -> None:
        if not self._over:
            self._generation.stop()

    async def _generate_alone(self) -> Outcome:
        """Ask the model while no other suspect does, so that the death of the process would tell who is the reason."""
        async with self._suspects:
            first = await self._store.once(tried_alone(self.claim.turn), at=self._clock.now())
            if self.claim.turn.attempts > ATTEMPTS and not first:
                return Outcome(error=TurnError.PARKED)
            log.warning("turn.tried_alone", attempt=self.claim.turn.attempts)
            return await self._generate()

    async def _take_back(self, reply: Reply) -> TurnState:
        """Delete what is shown of the answer to messages that are deleted. Where that fails there is nobody to tell."""
        try:
            await reply.complete(shown(None, TurnError.RETRACTED))
            log.info("turn.retracted")
        except DeliveryError as exc:
            log.warning("turn.not_taken_back", reason=str(exc), kind=type(exc).__name__)
        return final_state(None, TurnError.RETRACTED)

    def _afterwards(self, outcome: Outcome) -> Controls:
        cut = outcome.answer is not None and outcome.answer.ending is Ending.LENGTH
        return Controls(turn_id=self.claim.turn.id, offered=(Control.RETRY, Control.CONTINUE) if cut else (Control.RETRY,))

    def _remarks(self) -> list[str]:
        files = remarks(self._read, turn_id=self.claim.turn.id, tokens=self._tokens, sees_images=self._settings.sees_images)
        return [*map(nearly, self._spending.near), *files]

    async def _prepare(self, window: tuple[Message, ...]) -> tuple[Message, ...]:
        return await self._reading.read(self._address, window)

    async def _afford(self, prompt: Sequence[PromptMessage], window: Sequence[Message]) -> str:
        payer = next((message.author_id for message in reversed(window) if message.role is Role.USER), "")
        refusal = await self._spending.afford(prompt, payer)
        if refusal is None:
            return ""
        log.info("turn.refused", limit=name_of(refusal.limit))
        return replace(refusal, quiet=await self._is_known(refusal)).encode()

    async def _is_known(self, refusal: Refusal) -> bool:
        """Tell whether people were told of a refusal. What stands in place of an earlier reply is told again: it disturbs
        nobody."""
        if refusal.too_small or self.claim.parts:
            return False
        if refusal.limit.payer is Payer.USER:
            return refusal.quiet
        # Those who share an account do not read the same places, so it is said once in each.
        key = self.claim.key
        place = "/".join((key.platform, key.workspace, key.channel, key.thread))
        name = f"refused {place} {replace(refusal, quiet=False).encode()}"
        return not await self._store.once(name, at=self._clock.now())

    def _prompt(self, window: Sequence[Message], tokens: int) -> list[PromptMessage]:
        chosen = self.claim.persona
        tokens = max(0, tokens - tokens_of(chosen))
        self._read, self._tokens = tuple(window), tokens
        return build_prompt(
            system_prompt(self._terms.persona, chosen),
            window,
            tokens=tokens,
            steady=self._settings.steady_window,
            complete=len(window) < self._settings.history_messages,
            sees_images=self._settings.sees_images,
        )

    async def _absorb(self) -> Absorbed | None:
        if self.claim.parts:  # people see the beginning of an earlier run: what they say under it is the next turn's
            return None
        return await self._store.absorb(self.claim.hold, window=self._settings.history_messages)

    def _readdress(self, address: str) -> None:
        self._address = Address.decode(address)
        if self._reply is not None:
            self._reply.readdress(self._address)

    def _show(self, text: str) -> None:
        if self._reply is not None:
            self._reply.show(text)


def _first_answered(claim: Claim) -> str:
    """Name the first message that the turn answers, as far as the window reaches back; "" when the platform has no name."""
    asked = (message for message in claim.window if message.role is Role.USER and message.turn_id == claim.turn.id)
    return next((message.platform_id for message in asked), "")


async def end_all(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait until they have cleaned up."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
