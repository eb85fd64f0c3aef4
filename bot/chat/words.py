"""What Parley itself says to people: one plain sentence each, with what to do next.

Errors reach people only through here. A turn's error is stored as a code, and the code becomes words when it is shown, so a
restart in between changes nothing.
"""

from enum import StrEnum

from bot.llm.protocol import (
    ContentRefused,
    LLMError,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
    PromptTooLong,
    StreamBroken,
)
from store import Answer, Ending, TurnState


class TurnError(StrEnum):
    """Why a turn has no answer: the codes that the store keeps."""

    STOPPED = "stopped"
    PARKED = "parked"
    TIMEOUT = "model_timeout"
    UNAVAILABLE = "model_unavailable"
    BUSY = "model_busy"
    REJECTED = "model_rejected"
    TOO_LONG = "prompt_too_long"
    REFUSED = "refused"
    BROKEN = "model_broken"


EMPTY_MESSAGE = "Write me something and I will answer; `help` lists what else I can do."
STORE_FAILED = "The store can't do that right now; please try again in a minute."

_ERRORS = {
    TurnError.STOPPED: "Stopped.",
    TurnError.PARKED: "I fail at this message each time, so I have set it aside; please say it differently.",
    TurnError.TIMEOUT: "The model took too long; your question is kept, `retry` asks it again.",
    TurnError.UNAVAILABLE: "The model can't be reached right now; your question is kept, `retry` asks it again.",
    TurnError.BUSY: "The model is busy right now; your question is kept, `retry` asks it again in a minute.",
    TurnError.REJECTED: "The model refuses to work with my settings; please tell the operator, then use `retry`.",
    TurnError.TOO_LONG: "This is more than the model can read at once; please send a shorter message, or start with `new`.",
    TurnError.REFUSED: "The model does not answer this; please ask in another way.",
    TurnError.BROKEN: "The model's answer broke off before it began; your question is kept, `retry` asks it again.",
}

_MARKS = {
    Ending.COMPLETE: "",
    Ending.LENGTH: '\n\n*(cut at the longest answer allowed; say "continue" for more)*',
    Ending.STOPPED: "\n\n*(stopped)*",
    Ending.INTERRUPTED: "\n\n*(interrupted; `retry` asks again)*",
    Ending.REFUSED: "\n\n*(the model ended its answer here)*",
}

_ERRORS_OF_MODELS: tuple[tuple[type[LLMError], TurnError], ...] = (
    (LLMTimeout, TurnError.TIMEOUT),
    (LLMRateLimited, TurnError.BUSY),
    (PromptTooLong, TurnError.TOO_LONG),
    (ContentRefused, TurnError.REFUSED),
    (LLMRejected, TurnError.REJECTED),
    (StreamBroken, TurnError.BROKEN),
    (LLMUnavailable, TurnError.UNAVAILABLE),
)


def error_of(failure: LLMError) -> TurnError:
    """Name the code of a model's failure."""
    for kind, error in _ERRORS_OF_MODELS:
        if isinstance(failure, kind):
            return error
    return TurnError.UNAVAILABLE


def shown(answer: Answer | None, error: str) -> str:
    """Return the text that people see for a turn's outcome: the answer with the mark of its ending, or a sentence."""
    if answer is not None:
        return answer.text + _MARKS[answer.ending]
    return _ERRORS[TurnError(error)]


def final_state(answer: Answer | None, error: str) -> TurnState:
    """Return the state in which a turn with this outcome ends once it is shown."""
    if answer is not None:
        match answer.ending:
            case Ending.STOPPED:
                return TurnState.CANCELLED
            case Ending.INTERRUPTED:
                return TurnState.FAILED
            case Ending.COMPLETE | Ending.LENGTH | Ending.REFUSED:
                return TurnState.DONE
    match TurnError(error):
        case TurnError.STOPPED:
            return TurnState.CANCELLED
        case TurnError.PARKED:
            return TurnState.PARKED
    return TurnState.FAILED


def too_long(length: int, limit: int) -> str:
    """Refuse a message over the limit."""
    return f"Your message has {length:,} characters and I read at most {limit:,}; please shorten it or send it in pieces."


UNSTORABLE = "Your message holds a character that is no valid text (a NUL or half of a pair); please send it without."
