"""An answer while it arrives: what every dialect gathers, and the rules for its end."""

from collections.abc import Callable, Iterator, Mapping

from bot.llm.protocol import Alive, ContentRefused, Delta, Finish, FinishReason, PromptTooLong, StreamBroken, Text, Usage
from bot.llm.sse import Event
from bot.llm.visible import VisibleText

ALIVE = Alive()
_LONGEST_NAME = 100


class Answer:
    """Collects one answer; `end` decides whether it is one."""

    def __init__(self, asked: str) -> None:
        self.asked = asked
        """The configured model, for error messages."""
        self.complete = False
        """The server's end mark came."""
        self.spoke = False
        """Some text was given out."""
        self._model = asked
        self._reason: FinishReason | None = None
        self._odd_reason = False
        self._refused = False
        self._overflowed = False
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._visible = VisibleText()

    @property
    def stopped(self) -> bool:
        """Whether the model said why it stopped: what is missing now is only the tail."""
        return self._reason is not None or self._odd_reason

    def say(self, text: str) -> Delta:
        """Take a piece of the model's text."""
        visible = self._visible.feed(text)
        if not visible:
            return ALIVE
        self.spoke = True
        return Text(text=visible)

    def called(self, model: str) -> None:
        """Note the name that the server gives itself, which is kept and read by people: as far as it is text."""
        if name := "".join(sign for sign in model[:_LONGEST_NAME] if sign.isprintable()):
            self._model = name

    def counted(self, *, prompt_tokens: int, completion_tokens: int) -> None:
        """Note token counts; they are totals, and some servers repeat them on every chunk or end with zeros."""
        self._prompt_tokens = max(self._prompt_tokens, prompt_tokens)
        self._completion_tokens = max(self._completion_tokens, completion_tokens)

    def refuse(self) -> None:
        """Note that the model declined in a channel of its own; its words are not shown."""
        self._refused = True

    def overflow(self) -> None:
        """Note that the context was full."""
        self._overflowed = True
        self._reason = FinishReason.LENGTH

    def stop(self, reason: str, known: Mapping[str, FinishReason]) -> None:
        """Note why the model stopped."""
        self._reason = known.get(reason)
        self._odd_reason = self._reason is None

    def end(self) -> Iterator[Delta]:
        """Give the end of the answer.

        Raises:
            StreamBroken: the model never said that it was done, or stopped without text for a reason nobody knows.
            ContentRefused: the filter left nothing.
            PromptTooLong: the context was full before the first word.
        """
        if not self.stopped:
            raise StreamBroken(f"{self.asked}: the stream ended before the answer did")
        rest = self._visible.end()
        if rest:
            self.spoke = True
            yield Text(text=rest)
        yield Finish(
            reason=self._final_reason(),
            usage=Usage(prompt_tokens=self._prompt_tokens, completion_tokens=self._completion_tokens),
            model=self._model,
        )

    def _final_reason(self) -> FinishReason:
        reason = FinishReason.REFUSED if self._refused else self._reason
        if self.spoke:
            return reason or FinishReason.STOP
        if reason is None:
            raise StreamBroken(f"{self.asked}: stopped without text for a reason that Parley does not know")
        if reason is FinishReason.REFUSED:
            raise ContentRefused(f"{self.asked}: the provider's filter left no answer")
        if self._overflowed:
            raise PromptTooLong(f"{self.asked}: the prompt fills the model's context; lower HISTORY_TOKENS")
        return reason


Feed = Callable[[Answer, Event], Iterator[Delta]]
"""How a dialect reads one event of its stream."""
