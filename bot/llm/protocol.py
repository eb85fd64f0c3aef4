"""The model's port: what is asked, what comes back, and how it fails.

LLMError                      every failure of a model; `retryable` tells whether the same call may be tried again
├── LLMTimeout                connect, first token, stall or the whole deadline ran out
├── LLMUnavailable            no connection, 408, 409, 5xx, overloaded
├── LLMRateLimited            429; `retry_after` when the server said it
├── LLMRejected               the key, the model's name or the request is wrong, or the money is used up: for the operator
├── PromptTooLong             the prompt does not fit the model's context
├── ContentRefused            the provider's filter refused before any text
└── StreamBroken              the stream ended without its end: cut, garbled, or an error inside a 200
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol


class PromptRole(StrEnum):
    """Who speaks in a prompt."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture that goes with a user's message; `media_type` is one of PNG's, JPEG's, GIF's and WebP's."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMessage:
    """One message as the model reads it. `text` is never empty; `images` only go to models that can see."""

    role: PromptRole
    text: str
    images: tuple[Image, ...] = ()


class FinishReason(StrEnum):
    """Why a model stopped. A reason that Parley does not know is read as STOP when text came with it."""

    STOP = "stop"
    LENGTH = "length"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a call cost in tokens, as the provider counted; zero where it did not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A further piece of the answer, never empty."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The model is at work but has nothing to show: reasoning, keep-alives, role chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The end of the answer, exactly once and last. `model` is the name that the server gave."""

    reason: FinishReason
    usage: Usage
    model: str


class LLMError(Exception):
    """A model failed; the message names the remedy for the operator and holds no secret and no page of the server's."""

    retryable = False
    usage: Usage | None = None
    """What the provider counted all the same, where it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call of a model begins once the next delta is asked for. Who asks several in turn says so before each call.

    `model` is its name in the settings.
    """

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The call that was said to begin has failed; another one may follow."""

    error: LLMError


Delta = Text | Alive | Asked | Failed | Finish


class LLMClient(Protocol):
    """A model that answers prompts as a stream."""

    @property
    def name(self) -> str:
        """The model's name, for logs and for people."""

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """Answer `prompt` as deltas; leaving the context closes the connection, which stops the model.

        The iterator yields any number of Text and Alive, then one Finish, then ends. Iterating past a failure is not
        possible: the error ends it. Only who asks several models in turn yields Asked and Failed as well.

        Raises:
            LLMError: on entering or while iterating; never a driver's error.
        """

    async def aclose(self) -> None:
        """Give back connections and child processes; may be called twice."""


class LLMTimeout(LLMError):
    """The model was too slow. `sent`: the prompt was on its way, so the provider may bill it."""

    retryable = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class LLMUnavailable(LLMError):
    """The model's server can't be reached or is overloaded."""

    retryable = True


class LLMRateLimited(LLMError):
    """The provider asks to wait."""

    retryable = True

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LLMRejected(LLMError):
    """The provider refuses the call as it stands: key, name, money or form."""


class PromptTooLong(LLMError):
    """The prompt does not fit the model's context."""


class ContentRefused(LLMError):
    """The provider's filter refused to answer."""


class StreamBroken(LLMError):
    """The stream ended before the answer did."""

    retryable = True
