"""What Parley itself says to people: one plain sentence each, with what to do next.

Errors reach people only through here. A turn's error is stored as a code, and the code becomes words when it is shown, so a
restart in between changes nothing.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from bot.chat.limits import refusal_of, sentence
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
from store import DAMAGED, RETRACTED, Answer, Ending, TurnState


class TurnError(StrEnum):
    """Why a turn has no answer: the codes that the store keeps. That of a limit stands in `bot.chat.limits`."""

    STOPPED = "stopped"
    PARKED = "parked"
    TIMEOUT = "model_timeout"
    UNAVAILABLE = "model_unavailable"
    BUSY = "model_busy"
    REJECTED = "model_rejected"
    TOO_LONG = "prompt_too_long"
    REFUSED = "refused"
    BROKEN = "model_broken"
    RETRACTED = RETRACTED
    DAMAGED = DAMAGED


EMPTY_MESSAGE = "Write me something and I will answer; the command `help` lists what else I can do."
FORBIDDEN_BY_RULES = (
    "The rules of this server (AutoMod) do not let my answer through; please ask in another way, or tell a moderator."
)
THINKING = "is thinking…"
THINKING_LONG = "Still working on the answer…"
STORE_AWAY = "I can't keep messages right now; there is no need to repeat yours, I will answer it as soon as I can."
STORE_FAILED = "The store can't do that right now; please try again in a minute."
INSTALL_CANCELLED = "Nothing was installed, as you chose."
INSTALL_FAILED = "The installation could not be finished; please begin again."
INSTALL_AGAIN = "Begin again"
INSTALL_LATER = "The app can't be installed right now; please begin again at /slack/install in a minute."
OPEN_SLACK = "Open Slack"

_ERRORS = {
    TurnError.STOPPED: "Stopped.",
    TurnError.PARKED: "I fail at this message each time, so I have set it aside; please say it differently.",
    TurnError.TIMEOUT: "The model took too long; your question is kept, the command `retry` asks it again.",
    TurnError.UNAVAILABLE: "The model can't be reached right now; your question is kept, the command `retry` asks it again.",
    TurnError.BUSY: "The model is busy right now; your question is kept, the command `retry` asks it again in a minute.",
    TurnError.REJECTED: "The model refuses my settings; please tell the operator, then use the command `retry`.",
    TurnError.TOO_LONG: "This is more than the model can read; please send a shorter message, or use the command `new`.",
    TurnError.REFUSED: "The model does not answer this; please ask in another way.",
    TurnError.BROKEN: "The model's answer broke off; your question is kept, the command `retry` asks it again.",
    TurnError.RETRACTED: "",
    TurnError.DAMAGED: "What was said here can't be read any more; please use the command `new`, and tell the operator.",
}
_UNKNOWN = "I could not answer this; your question is kept, the command `retry` asks it again."
"""What is said for a code that another version wrote."""

_MARKS = {
    Ending.COMPLETE: "",
    Ending.LENGTH: '\n\n*(cut at the longest answer allowed; say "continue" for more)*',
    Ending.STOPPED: "\n\n*(stopped)*",
    Ending.INTERRUPTED: "\n\n*(interrupted; the command `retry` asks again)*",
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


def shown(answer: Answer | None, error: str, remarks: Sequence[str] = ()) -> str:
    """Return the text that people see for a turn's outcome: the answer with the mark of its ending, or a sentence.

    `remarks` are about the files that came with the question, and about limits that are nearly reached.
    """
    if answer is not None:
        return answer.text + _MARKS[answer.ending] + _noted(remarks)
    if (refusal := refusal_of(error)) is not None:
        return sentence(refusal)
    return _ERRORS[TurnError(error)] if error in _ERRORS else _UNKNOWN


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
    match error:
        case TurnError.STOPPED | TurnError.RETRACTED:
            return TurnState.CANCELLED
        case TurnError.PARKED:
            return TurnState.PARKED
    return TurnState.FAILED


def too_long(length: int, limit: int) -> str:
    """Refuse a message over the limit."""
    return f"Your message has {length:,} characters and I read at most {limit:,}; please shorten it or send it in pieces."


def unanswered(number: int, *, older_than: timedelta, more: bool = False) -> str:
    """Say that so many messages, or `more`, came too long ago to be answered now."""
    ago = f"to me from more than {older_than // timedelta(hours=1)} hours ago"
    if number == 1:
        one = "at least one message" if more else "a message"
        return f"I was away, and {one} {ago} has no answer; please ask again if it still matters."
    several = f"at least {number} messages" if more else f"{number} messages"
    return f"I was away, and {several} {ago} have no answer; please ask again what still matters."


UNSTORABLE = "Your message holds a character that is no valid text (a NUL or half of a pair); please send it without."

COMMAND_FAILED = "That went wrong on my side; please try again, and tell the operator if it happens again."
COMMAND_CHANGED = "This command has changed; please restart Discord to see it as it is now, then try again."
ASK_ABOUT = "What do you make of this message?"
ASK_TAKEN = "I will answer below."
ASK_IGNORED = "I am switched off in this channel; please ask me in another one, or in a direct message."
ASK_NO_ROOM = "I may not write here; please ask a moderator to allow it, or ask me in a direct message."
SUMMARISE = "Summarise this thread: what it is about, what was decided, and what is still open."
SUMMARISE_TAKEN = "I will answer in the thread."
SUMMARISE_ALONE = (
    "I am not in this channel, so I can read this one message only; I will answer in our direct messages. "
    "Invite me to the channel for the whole thread."
)
SUMMARISE_LATER = "Slack does not let me read the thread right now; please try again in a minute."
SUMMARISE_NO_DIRECT = "I am not in this channel and can't write to you directly; please invite me to the channel."
FEEDBACK_KEPT = "Thank you, I have noted that."
NOTHING_TO_READ = "That message has no text and no file that I could read; please choose another one."

NO_CHANNEL_SETTINGS = "Only channels have settings, and this is none; please ask again in one of them."
FILES_SENT = "You find the file in your direct messages with me."
FILES_NOT_SENT = "The file could not be sent to you in a direct message; please write to me directly and ask again."
REPLY_CUT = "There is more than can be shown here; please ask for less."
ANSWER_UNKNOWN = "This answer is not kept any more."
NOT_YOURS = "This answer belongs to somebody else; ask me something and you get buttons of your own."
NOTHING_TO_STOP = "This answer is finished already, so there is nothing to stop."
STILL_ON_ITS_WAY = "The answer is still on its way; please wait until it is finished, or stop it first."
NOT_CUT = "This answer is not cut, so there is nothing to continue; just write what you want to know."
NOT_THE_NEWEST = "The conversation has moved on since; only its newest answer can be asked again or continued."


# What Slack shows beside the conversations.
HOME_TITLE = "Your conversations"
HOME_INTRO = (
    "Write to me under *Messages*, or mention me in a channel that I am in. "
    "`/chat help` lists what else I can do; in threads the same words begin with a `!`, such as `!new`."
)
HOME_EMPTY = "There are none yet: what you say to me is listed here, and can be erased here."
HOME_MORE = "There are more; these are the newest."
HOME_EXTEND = "Keep longer"
HOME_FORGET = "Forget"
HOME_FORGET_TITLE = "Forget this conversation?"
HOME_FORGET_TEXT = "All its messages are erased for good, those of others in it too. What stands in Slack stays there."
HOME_FORGET_YES = "Forget it"
HOME_FORGET_NO = "Keep it"
PROMPTS_TITLE = "What can I do for you?"
PROMPTS = {
    "Explain something": "Explain to me in simple words: ",
    "Improve a text": "Improve this text and tell me what you changed: ",
    "Find ideas": "Give me ten ideas for ",
    "Plan a task": "Help me to plan this task step by step: ",
}
"""Questions that are proposed to whoever opens the agent view, by their titles; Slack shows four."""


def file_too_large(name: str, limit: int) -> str:
    """Say that a file is more than the platform takes, in bytes."""
    return f"{name} is larger than the {limit >> 20} MiB that may be sent here; please ask for less."


def file_not_sent(name: str) -> str:
    """Say that a file did not get through."""
    return f"{name} could not be sent; please try again in a minute."


def summarised_in_part(read: int, count: int) -> str:
    """Have a summary begin with what it leaves out."""
    return f"Say first that you read only {read:,} of its {count:,} messages."


def option_missing(name: str) -> str:
    """Ask for an option that was left out."""
    return f"Please say `{name}` as well."


def option_of_one_word(name: str) -> str:
    """Refuse a value that would run into the next one."""
    return f"`{name}` must be one word; please leave the blanks out."


def not_a_number(name: str, least: int | None, most: int | None) -> str:
    """Refuse what is no whole number within its bounds."""
    if least is not None and most is not None:
        return f"`{name}` must be a whole number from {least} to {most}; please choose one."
    bounds = f" of at least {least}" if least is not None else f" of at most {most}" if most is not None else ""
    return f"`{name}` must be a whole number{bounds}; please choose one."


def not_a_choice(name: str, choices: tuple[str, ...]) -> str:
    """Refuse what is none of the choices."""
    return f"`{name}` must be one of {', '.join(choices)}; please choose one."


# Why a file can't be read: the end of a sentence, kept with the file.
NO_TEXT_NO_PICTURE = "it is neither text nor a picture"
NO_TEXT = "it is no text"
NO_PICTURE = "it is no PNG, JPEG, GIF or WebP picture"
PICTURE_TOO_LARGE = "it is larger than 5 MiB"
TOO_MANY_FILES = "I read only the first 10 files of a message"
TOO_MANY_PICTURES = "I look only at the newest 4 pictures"
READ_IN_PART = "only a part of it came"
READ_TOO_SLOWLY = "it took too long to read"
OUT_OF_REACH = "it can't be had right now"
NOT_READ = "it was not read"
BLIND = "this model reads only text"

REMARKS = 4
"""Remarks that are written out under an answer: more would bury it."""


def trimmed(name: str, extent: str) -> str:
    """Remark that a file was read in part; `extent` is such as "the first 12,000 of 80,000 characters"."""
    return f"I read only {extent} of {name}"


def unreadable(name: str, reason: str) -> str:
    """Remark that a file was not read."""
    return f"I can't read {name}: {reason}"


def unseen(name: str, reason: str) -> str:
    """Remark that a picture was not seen."""
    return f"I can't see {name}: {reason}"


def _noted(remarks: Sequence[str]) -> str:
    if not remarks:
        return ""
    more = [f"and {len(remarks) - REMARKS} more"] if len(remarks) > REMARKS else []
    return f"\n\n*({'; '.join([*remarks[:REMARKS], *more])})*"


def app_installed(name: str) -> str:
    """Say that the app is in a workspace now, and how to begin."""
    return f"Parley is in {name} now: write to it in a direct message, or mention it in a channel."
