"""The one retry loop: several models as one, with retries, fallback, breakers and one budget of time.

Until the first visible text a failure is nobody's business but ours; after it, the error goes to the caller as it is, who
keeps the partial text: a second try would write over what people have begun to read.
"""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from bot.clock import Clock
from bot.llm.answer import ALIVE
from bot.llm.breaker import Breaker, Pass
from bot.llm.deadlines import Alarm
from bot.llm.failures import AskedToWait
from bot.llm.protocol import (
    Asked,
    ContentRefused,
    Delta,
    Failed,
    Finish,
    FinishReason,
    LLMClient,
    LLMError,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
    PromptMessage,
    PromptTooLong,
    StreamBroken,
    Text,
)
from bot.tracebacks import forget_frames

TOTAL = timedelta(seconds=120)
RETRIES = 2
EMPTY_RETRIES = 1
LONGEST_ASKED_WAIT = timedelta(seconds=30)
# A wait is drawn from between the shortest and the ceiling of its retry.
SHORTEST_WAIT = timedelta(seconds=0.5)
WAIT_CEILINGS = (timedelta(seconds=2), timedelta(seconds=8))
# A model that is cut off by the budget of all has failed itself only when it had this long.
FAIR_CHANCE = timedelta(seconds=30)

log = structlog.get_logger(__name__)


class EmptyAnswer(LLMUnavailable):
    """The model ended in good order without a word."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A model with its breaker."""

    model: LLMClient
    breaker: Breaker = field(default_factory=Breaker)


class ModelRouter:
    """The models of an installation, in the order in which they are asked."""

    def __init__(self, models: Sequence[LLMClient], clock: Clock, rng: random.Random, *, total: timedelta = TOTAL) -> None:
        if not models:
            raise ValueError("a router needs at least one model")
        self._lines = [_Line(model) for model in models]
        self._clock = clock
        self._rng = rng
        self._total = total
        self._closes = True

    def beginning_with(self, name: str) -> "ModelRouter":
        """Return a router that asks the model `name` first, and the others behind it in their order.

        Both share their models and what they learn of them; only this one closes them.

        Raises:
            KeyError: there is no such model.
        """
        if name not in self.names:
            raise KeyError(name)
        other = copy(self)
        other._lines = sorted(self._lines, key=lambda line: line.model.name != name)
        other._closes = False
        return other

    @property
    def name(self) -> str:
        """The first model's name; the one that answers stands in the `Asked` before its text."""
        return self._lines[0].model.name

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, in the order in which they are asked; one that is listed twice stands here once."""
        return tuple(dict.fromkeys(line.model.name for line in self._lines))

    def describe(self) -> list[str]:
        """Say of each model, in a line that begins with its name, whether it is asked just now."""
        now = self._clock.monotonic()
        rests = {line.model.name: line.breaker.rests_for(now) for line in self._lines}
        return [f"{name} (rests for {rest.seconds} s after failures)" if rest else name for name, rest in rests.items()]

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        return self._stream(prompt)

    async def aclose(self) -> None:
        if not self._closes:
            return
        async with AsyncExitStack() as stack:  # one that fails to close does not keep the others open
            for line in self._lines:
                stack.push_async_callback(line.model.aclose)

    @asynccontextmanager
    async def _stream(self, prompt: Sequence[PromptMessage]) -> AsyncIterator[AsyncIterator[Delta]]:
        async with Alarm(self._clock) as alarm:
            end = self._clock.monotonic() + self._total
            alarm.set(end)
            async with aclosing(self._answer(prompt, alarm, end)) as deltas:
                yield deltas

    async def _answer(self, prompt: Sequence[PromptMessage], alarm: Alarm, end: timedelta) -> AsyncGenerator[Delta, None]:
        """Ask one model after the other until one answers."""
        failures: list[LLMError] = []
        for position, line in enumerate(self._lines):
            tries = 0
            while (given := line.breaker.enter(self._clock.monotonic())) is not None:
                spoke = False
                tries += 1
                try:
                    async with aclosing(self._attempt(line, given, prompt, alarm)) as deltas:
                        async for delta in deltas:
                            spoke = spoke or isinstance(delta, Text)
                            yield delta
                        return
                except LLMError as exc:
                    failure = exc
                    forget_frames(failure)
                self._log_failure(line, failure, tries, spoke=spoke)
                yield Failed(error=failure)
                if spoke or isinstance(failure, ContentRefused) or self._clock.monotonic() >= end:
                    raise failure
                failures.append(failure)
                wait = self._wait_before_retry(failure, tries, end, position)
                if wait is None:
                    break
                log.info("llm.retry_scheduled", model=line.model.name, wait_seconds=round(wait.total_seconds(), 3))
                await self._clock.sleep(wait)
        raise self._verdict(failures)

    async def _attempt(
        self, line: _Line, given: Pass, prompt: Sequence[PromptMessage], alarm: Alarm
    ) -> AsyncGenerator[Delta, None]:
        """Ask one model once, and let its breaker know how that went."""
        try:
            yield Asked(model=line.model.name)
            began = self._clock.monotonic()
            async with AsyncExitStack() as stack:
                deltas = await alarm.within(lambda: stack.enter_async_context(line.model.stream(prompt)))
                blank, first_text, finished = "", None, False
                while (delta := await alarm.within(lambda: anext(deltas, None))) is not None:
                    match delta:
                        case Text(text=text) if first_text is None and not text.strip():
                            blank += text  # platforms refuse white space alone, so it waits for the first word
                            yield ALIVE
                        case Text(text=text) if first_text is None:
                            first_text = self._clock.monotonic() - began
                            if line.breaker.answers(given):
                                log.info("llm.breaker_closed", model=line.model.name)
                            yield Text(text=blank + text)
                        case Finish():
                            if first_text is None:
                                raise _without_text(line.model, delta)
                            finished = True
                            line.breaker.worked(given)
                            self._log_finish(line, delta, began, first_text)
                            yield delta
                        case _:
                            yield delta
                _require_end(line.model, finished=finished)
        except TimeoutError as exc:
            if self._clock.monotonic() - began >= FAIR_CHANCE:
                self._failed(line, given)
            raise LLMTimeout(f"{line.model.name}: the time for all tries, {self._total.total_seconds():g} s, is up") from exc
        except EmptyAnswer:
            raise  # the server is well
        except (LLMTimeout, LLMUnavailable, LLMRateLimited, StreamBroken):
            self._failed(line, given)
            raise
        finally:
            line.breaker.given_up(given)

    def _wait_before_retry(self, failure: LLMError, tries: int, end: timedelta, position: int) -> timedelta | None:
        """Tell how long to wait before asking the same model again; None is for not asking it."""
        now = self._clock.monotonic()
        if not failure.retryable or tries > (EMPTY_RETRIES if isinstance(failure, EmptyAnswer) else RETRIES):
            return None
        if not self._lines[position].breaker.ready(now):
            return None
        if isinstance(failure, LLMTimeout) and any(line.breaker.ready(now) for line in self._lines[position + 1 :]):
            return None  # people have waited a whole deadline already: better another model than the slow one again
        asked = failure.retry_after if isinstance(failure, LLMRateLimited | AskedToWait) else None
        if asked is None:
            shortest, longest = SHORTEST_WAIT, WAIT_CEILINGS[min(tries, len(WAIT_CEILINGS)) - 1]
        elif asked <= LONGEST_ASKED_WAIT:
            shortest, longest = asked, asked + SHORTEST_WAIT  # not all at the same moment
        else:
            return None
        wait = timedelta(seconds=self._rng.uniform(shortest.total_seconds(), longest.total_seconds()))
        return wait if now + wait < end else None

    def _verdict(self, failures: Sequence[LLMError]) -> LLMError:
        """Choose the failure that tells the caller most about what to do."""
        if not failures:
            now = self._clock.monotonic()
            rest = min(line.breaker.rests_for(now) for line in self._lines)
            return LLMUnavailable(f"every model rests after failures; the next try is in {rest.total_seconds():.0f} s")
        for failure in failures:
            if isinstance(failure, PromptTooLong):
                return failure  # a shorter prompt may be answered
        return next((failure for failure in reversed(failures) if failure.retryable), failures[-1])

    def _failed(self, line: _Line, given: Pass) -> None:
        rest = line.breaker.failed(given, self._clock.monotonic())
        if rest is not None:
            log.warning("llm.breaker_opened", model=line.model.name, rest_seconds=rest.total_seconds())

    def _log_failure(self, line: _Line, failure: LLMError, tries: int, *, spoke: bool) -> None:
        # What only the operator can mend is an error, the rest is weather.
        report = log.error if isinstance(failure, LLMRejected) else log.warning
        report(
            "llm.failed",
            model=line.model.name,
            error=type(failure).__name__,
            reason=str(failure),
            attempt=tries,
            partial=spoke,
        )

    def _log_finish(self, line: _Line, finish: Finish, began: timedelta, first_text: timedelta | None) -> None:
        log.info(
            "llm.finished",
            model=line.model.name,
            served_by=finish.model,
            reason=finish.reason.value,
            prompt_tokens=finish.usage.prompt_tokens,
            completion_tokens=finish.usage.completion_tokens,
            first_text_seconds=None if first_text is None else round(first_text.total_seconds(), 3),
            seconds=round((self._clock.monotonic() - began).total_seconds(), 3),
        )


def _require_end(model: LLMClient, *, finished: bool) -> None:
    if not finished:
        raise StreamBroken(f"{model.name}: the stream ended before the answer did")


def _without_text(model: LLMClient, finish: Finish) -> LLMError:
    error: LLMError
    match finish.reason:
        case FinishReason.REFUSED:
            error = ContentRefused(f"{model.name}: refused without a word")
        case FinishReason.LENGTH:
            error = LLMRejected(f"{model.name}: used up its tokens without a visible word (by thinking?); allow it more")
        case FinishReason.STOP:
            error = EmptyAnswer(f"{model.name}: answered with nothing")
    error.usage = finish.usage
    return error
