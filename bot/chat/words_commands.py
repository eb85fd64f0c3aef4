"""What commands say to people and operators: one plain sentence each, with what to do next."""

from collections.abc import Collection
from datetime import datetime, timedelta

from bot.chat.commands_layout import counted, moment, rough

NO_SUCH_COMMAND = "There is no such command; `help` lists them."
NEW_ALREADY = "This is a new conversation already."
STOPPED = "Stopped."
NOTHING_TO_STOP = "There is nothing to stop."
ASKING_AGAIN = "Asking again."
NOTHING_TO_ASK = "There is nothing to ask again: either nothing was asked, or the answer is still on its way."
TAKEN_BACK = "Taken back: your last question, and the answer that came of it alone."
NOTHING_TO_TAKE_BACK = (
    "There is nothing of yours to take back: your last question here is not the last one any more, or gone."
)
NOTHING_SAID = "Nothing has been said here yet."
NO_PERSONA = "This conversation has no persona of its own; `persona` with a text gives it one."
PERSONA_TAKEN = "From the next answer on I follow the persona that you wrote; `persona default` takes it back."
PERSONA_TAKEN_BACK = "This conversation has no persona of its own any more."
NOTHING_HERE = "There is nothing to forget here; `forget everything` erases what you said elsewhere."
NOT_YOURS_ALONE = (
    "Others speak in this conversation and you have no part in it, so it is not yours to erase; "
    "`forget everything` erases what you said elsewhere."
)
NOT_YOURS_TO_ERASE = (
    "Others speak in this conversation and you may not speak here, so it is not yours to erase whole; "
    "`forget everything` erases what you said."
)
EXPORT_FROM = "`after` must be the place where an earlier export ended, such as 12-345; leave it out to begin anew."

NO_SUCH_CONVERSATION = "There is no such conversation here; `/parley conversations` lists them."
NOT_TO_FORGET = "There is no such conversation here that has not expired; `/parley conversations` lists them."
NOT_TO_RESTORE = "There is no such conversation here that has expired; `/parley conversations expired` lists them."
NO_CONVERSATIONS = "There are no such conversations."
NO_ENTRIES = "The audit log has no such entries."
NO_USAGE = "Nothing was used in these days."
NO_SUCH_SUBJECT = (
    "I don't know whom you mean; please mention a person, a role or group, or a channel, write `user:ID`, `group:ID`, "
    "`channel:ID` or `category:ID`, or one of guests, external, direct, people, channels."
)
NO_SUCH_FILTER = "`filter` must be one of all, current, ended, expired, or a person or a channel; please choose one."
ONLY_GROUPS_OPERATE = "Only roles and groups can be operators here; single people are named in the setting OPERATORS."
NOT_FOR_THIS_LIMIT = "Only limits of a user or a channel can be set for a single one; please leave `whom` out."
NOTHING_SET = "Nothing is set here; what holds is what the installation's settings say."
PAUSED_ALREADY = "It is paused already."
NOT_PAUSED = "It was not paused."


def did_you_mean(name: str) -> str:
    """Answer a misspelt command with the nearest one."""
    return f"There is no such command; did you mean `{name}`?"


def option_too_long(name: str, length: int, longest: int) -> str:
    """Refuse a value over its limit."""
    return f"`{name}` has {length:,} characters and may have {longest:,}; please shorten it."


def kept_for(ttl: timedelta | None) -> str:
    """Say how long conversations are kept, as the end of a sentence."""
    return "for ever" if ttl is None else f"until nothing was said in it for {rough(ttl)}"


def begun_anew(ttl: timedelta | None) -> str:
    """Say that a new conversation begins."""
    return f"A new conversation begins here; the old one is kept {kept_for(ttl)}."


def kept_until(until: datetime | None) -> str:
    """Say how long a conversation is kept if nothing more is said in it."""
    return (
        "Kept for ever."
        if until is None
        else f"Kept until {moment(until)} if nothing more is said; `keep longer` extends it."
    )


def extended(until: datetime | None) -> str:
    """Say that a conversation's time began anew."""
    return "It is kept for ever as it is." if until is None else f"Its time begins anew: it is kept until {moment(until)}."


def persona_is(persona: str) -> str:
    """Show the persona that a conversation has."""
    return f"This conversation has a persona of its own; `persona default` takes it back:\n{persona}"


def forgotten(*, conversations: int, messages: int, at: datetime, receipt: str) -> str:
    """Give a receipt for what was erased."""
    what = f"{counted(conversations, 'conversation')}, {counted(messages, 'message')}"
    return f"Forgotten for good at {moment(at)}: {what}. Receipt {receipt}."


def exported(*, conversations: int, messages: int, files: int, more: str) -> str:
    """Say what an export holds; `more` is how to ask for what did not fit, "" when all did."""
    what = f"{counted(conversations, 'conversation')} with {counted(messages, 'message')} in {counted(files, 'file')}"
    rest = f" There is more than one reply can hold: `export {more}` brings the rest." if more else ""
    return f"What is kept of you here: {what}.{rest}"


def file_not_written(reason: str) -> str:
    """Say that a file could not be written at the terminal."""
    return f"It could not be written here ({reason}); please change to a folder with room that you may write to."


def day_ends(in_: timedelta) -> str:
    """Say when the day's counts begin anew."""
    return f"The day ends at 00:00 UTC, in {rough(in_)}."


def set_aside(number: int, purge_after: timedelta) -> str:
    """Say that a conversation expired by an operator's hand."""
    return (
        f"Conversation {number} is set aside and erased for good after {rough(purge_after)}; "
        f"until then `/parley restore {number}` brings it back."
    )


def restored(number: int) -> str:
    """Say that a conversation is back."""
    return f"Conversation {number} is back; its time begins anew."


def more_pages(command: str) -> str:
    """Say how to see what comes next."""
    return f"There is more: `/parley {command}`."


def changed(name: str, before: str, after: str) -> str:
    """Say what a setting was and is."""
    return f"{name}: {before or 'default'} -> {after or 'default'}"


def unpriced(models: Collection[str]) -> str:
    """Warn that a limit in money does not bound these models."""
    return f"No price is set of {', '.join(models)}: what they do counts as free; the setting LLM_PRICES names prices."


def paused(where: str) -> str:
    """Say that nothing is answered somewhere."""
    return f"Paused {where}: what is said is kept and answered after `/parley resume`."


def resumed(where: str, *, still: bool) -> str:
    """Say that a pause is over; `still`: a wider one goes on."""
    return f"Resumed {where}{'; a wider pause still holds here, `/parley status` shows it' if still else ''}."
