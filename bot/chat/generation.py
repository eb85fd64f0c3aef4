"""One turn's talk with the model: from the window to an answer or an error, through news, stops and failures.

Work starts at once. What is said before the first visible text restarts the generation with everything; what is said later
waits for the next turn (DESIGN §5). A stop keeps what people have seen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from bot.chat.spending import Spending
from bot.chat.words import TurnError, error_of
from bot.llm.protocol import (
    Alive,
    Asked,
    Failed,
    Finish,
    FinishReason,
    LLMClient,
    LLMError,
    PromptMessage,
    PromptTooLong,
    Text,
)
from bot.llm.visible import without_surrogates
from bot.tracebacks import forget_frames
from store import Absorbed, Answer, Ending, Message

LONGEST_ANSWER = 1_000_000
"""Characters of one answer. No model writes as many in its time; a server that never ends would fill memory and store."""

log = structlog.get_logger(__name__)

_ENDINGS = {
    FinishReason.STOP: Ending.COMPLETE,
    FinishReason.LENGTH: Ending.LENGTH,
    FinishReason.REFUSED: Ending.REFUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a turn says: an answer, or the code of why there is none."""

    answer: Answer | None = None
    error: str = ""


class _Restart(Exception):
    """There is more to answer, and nothing was shown yet."""

    def __init__(self, absorbed: Absorbed) -> None:
        super().__init__()
        self.absorbed = absorbed


class Generation:
    """The generation of one turn. `run` is called once; `stop` and `news` at any time, from other tasks."""

    def __init__(
        self,
        model: LLMClient,
        *,
        prepare: Callable[[tuple[Message, ...]], Awaitable[tuple[Message, ...]]],
        prompt: Callable[[Sequence[Message], int], list[PromptMessage]],
        tokens: int,
        afford: Callable[[Sequence[PromptMessage], Sequence[Message]], Awaitable[str]],
        spending: Spending,
        absorb: Callable[[], Awaitable[Absorbed | None]],
        readdress: Callable[[str], None],
        show: Callable[[str], None],
    ) -> None:
        """`prepare` fetches what a window only names, so far as it is needed; `prompt` builds what the model reads of it
        within so many tokens; `afford` sets aside what a call may cost, and returns the code of why it may not be made, or
        ""; `spending` is told of every call; `absorb` takes in what waits; `readdress` moves the reply; `show` lets people
        see the text so far."""
        self._model = model
        self._prepare = prepare
        self._prompt = prompt
        self._tokens = tokens
        self._afford = afford
        self._spending = spending
        self._absorb = absorb
        self._readdress = readdress
        self._show = show
        self._window: tuple[Message, ...] = ()
        self._raw = ""
        self._visible = False
        self._stopped = False
        self._signal = asyncio.Event()
        # Taking in news and showing the first text exclude each other: what is shown answers all that was taken in.
        self._first_text = asyncio.Lock()

    def stop(self) -> None:
        """End the generation as soon as possible; what is visible by then is the answer."""
        self._stopped = True
        self._signal.set()

    def news(self) -> None:
        """Somebody said more: take it in, unless something is visible already."""
        if not self._visible:
            self._signal.set()

    async def run(self, window: tuple[Message, ...]) -> Outcome:
        """Ask the model until there is an outcome.

        Raises:
            LeaseLost, DeliveryError: from what was handed in; the turn is no longer ours, or nobody can see it.
        """
        tokens, self._window = self._tokens, window
        while True:
            try:
                return await self._attend(asyncio.create_task(self._stream(tokens), name="generation"))
            except _Restart as restart:
                log.info("turn.restarted")
                self._window = restart.absorbed.window
                self._readdress(restart.absorbed.address)
            except PromptTooLong as exc:
                forget_frames(exc)
                # Our estimate was too low for this model; half of it is tried once.
                if tokens < self._tokens:
                    return Outcome(error=error_of(exc))
                tokens //= 2
            except LLMError as exc:
                forget_frames(exc)
                return self._failed(exc)

    async def _attend(self, stream: asyncio.Task[Outcome]) -> Outcome:
        """Wait for the stream to end, or end it when there is a reason to."""
        try:
            while not stream.done():
                signal = asyncio.create_task(self._signal.wait(), name="generation.signal")
                try:
                    await asyncio.wait({stream, signal}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    signal.cancel()
                if not self._signal.is_set() or stream.done():
                    continue
                self._signal.clear()
                if self._stopped:
                    await _cancelled(stream)
                    return self._stopped_outcome()
                async with self._first_text:
                    absorbed = None if self._visible else await self._absorb()
                    if absorbed is not None:
                        await _cancelled(stream)
                        raise _Restart(absorbed)
            return stream.result()
        finally:
            await _cancelled(stream)

    async def _stream(self, tokens: int) -> Outcome:
        self._raw = ""
        if self._stopped:
            return self._stopped_outcome()
        self._window = await self._prepare(self._window)
        prompt = self._prompt(self._window, tokens)
        if error := await self._afford(prompt, self._window):
            return Outcome(error=error)
        self._spending.begins(prompt, self._model.name)
        try:
            return await self._read(prompt)
        except LLMError as exc:
            self._spending.failed(exc)
            raise

    async def _read(self, prompt: Sequence[PromptMessage]) -> Outcome:
        async with self._model.stream(prompt) as deltas:
            async for delta in deltas:
                match delta:
                    case Asked(model=name) if self._spending.under_way:
                        self._spending.asks(name)
                    case Asked(model=name):
                        if error := await self._afford(prompt, self._window):
                            return Outcome(error=error)
                        self._spending.begins(prompt, name)
                    case Failed(error=failure):
                        self._spending.failed(failure)
                    case Alive():
                        self._spending.heard()
                    case Text(text=text):
                        self._spending.heard(text)
                        self._raw = (self._raw + text)[:LONGEST_ANSWER]
                        if not self._visible:
                            await self._become_visible()
                        self._show(well_formed(self._raw))
                        if len(self._raw) == LONGEST_ANSWER:
                            log.warning("generation.cut", characters=LONGEST_ANSWER)
                            return self._finished(Ending.LENGTH)
                    case Finish(reason=reason, usage=usage, model=model):
                        self._spending.finished(usage)
                        return self._finished(_ENDINGS[reason], model=model)
        return Outcome(error=TurnError.BROKEN)

    async def _become_visible(self) -> None:
        async with self._first_text:
            absorbed = await self._absorb()
            if absorbed is not None:
                raise _Restart(absorbed)
            self._visible = True

    def _finished(self, ending: Ending, *, model: str = "") -> Outcome:
        cost = self._spending.last_call
        return Outcome(
            answer=Answer(
                text=well_formed(self._raw),
                ending=ending,
                model=well_formed(model or self._spending.model),
                prompt_tokens=cost.prompt_tokens,
                completion_tokens=cost.completion_tokens,
            )
        )

    def _stopped_outcome(self) -> Outcome:
        return self._finished(Ending.STOPPED) if self._visible else Outcome(error=TurnError.STOPPED)

    def _failed(self, failure: LLMError) -> Outcome:
        return self._finished(Ending.INTERRUPTED) if self._visible else Outcome(error=error_of(failure))


async def _cancelled(task: asyncio.Task[Outcome]) -> None:
    """End a task and wait until it has cleaned up; its own outcome does not matter any more."""
    task.cancel()
    try:
        await asyncio.wait({task})
    finally:
        if task.done() and not task.cancelled():
            task.exception()


def well_formed(text: str) -> str:
    """Make what a model said storable: halves of a surrogate pair are joined, what can't be text becomes U+FFFD.

    The halves may come in two deltas, so this is applied to the whole text, not to the pieces.
    """
    return without_surrogates(text.replace("\0", "\ufffd"))
