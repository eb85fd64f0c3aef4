"""What a command takes: its options, as a platform's form shows them, and the one line of text that they stand for.

The line has the options' values in their order, one word each; only the last may be more. So an option can be left out only
together with all behind it, unless it has a default, which then stands in its place.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bot.chat import words, words_commands
from bot.chat.commands_parts import Parts
from bot.chat.protocol import CommandCall


class OptionKind(StrEnum):
    """What an option's value is."""

    TEXT = "text"
    INTEGER = "integer"
    CHOICE = "choice"


class Suggests(Protocol):
    """Proposes values of an option to somebody who may run the command, by the values of the other options.

    Raises:
        StoreUnavailable.
    """

    async def __call__(self, parts: Parts, call: CommandCall, given: Mapping[str, str]) -> Collection[str]:
        """Return what could be meant, the likeliest first, of nothing but the caller's workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One value that a command takes.

    `choices` are all values of a CHOICE, `minimum` and `maximum` the bounds of an INTEGER, `longest` the characters of a
    TEXT at most. `default` is what it is when it is left out. `words`: it may be several of them, if it is the last.
    """

    name: str
    summary: str
    kind: OptionKind = OptionKind.TEXT
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    longest: int = 200
    default: str = ""
    words: bool = False
    required: bool = False
    suggests: Suggests | None = None


class OptionRefused(ValueError):
    """What was given does not fit the options; the message says what does, for people."""


def usage_of(options: Sequence[Option]) -> str:
    """Show what may be typed behind a command's name: `<needed> [may be left out]`."""
    return " ".join(f"<{option.name}>" if option.required else f"[{option.name}]" for option in options)


def join_options(options: Sequence[Option], values: Mapping[str, str | int]) -> str:
    """Write a form's values, by the options' names, as the line that `split_options` reads. An empty value is none.

    Raises:
        OptionRefused: one without a default is left out before another, or a value of several words stands before another.
    """
    given = [str(values.get(option.name, "")).strip() for option in options]
    while given and not given[-1]:
        given.pop()
    line = [value or option.default for option, value in zip(options, given, strict=False)]
    for option, value in zip(options, line[:-1], strict=False):
        if not value:
            raise OptionRefused(words.option_missing(option.name))
        if len(value.split()) > 1:
            raise OptionRefused(words.option_of_one_word(option.name))
    return " ".join(line)


def split_options(options: Sequence[Option], argument: str) -> dict[str, str]:
    """Tell the values of a line by the options' names, without judging them."""
    if not options:
        return {}
    values = argument.strip().split(maxsplit=len(options) - 1)
    return {option.name: value for option, value in zip(options, values, strict=False)}


def read_options(options: Sequence[Option], argument: str) -> dict[str, str]:
    """Tell the values of a line by the options' names, those with a default always.

    Choices are in the letters of the table, however they were typed.

    Raises:
        OptionRefused: a value does not fit, or one that is needed is missing.
    """
    values = split_options(options, argument)
    for option in options:
        if option.name in values:
            values[option.name] = _fitting(option, values[option.name])
        elif option.required:
            raise OptionRefused(words.option_missing(option.name))
        elif option.default:
            values[option.name] = option.default
    return values


def _fitting(option: Option, value: str) -> str:
    match option.kind:
        case OptionKind.INTEGER:
            if not _within(value, option.minimum, option.maximum):
                raise OptionRefused(words.not_a_number(option.name, option.minimum, option.maximum))
        case OptionKind.CHOICE:
            if value.lower() not in option.choices:
                raise OptionRefused(words.not_a_choice(option.name, option.choices))
            return value.lower()
        case OptionKind.TEXT:
            if not option.words and len(value.split()) > 1:
                raise OptionRefused(words.option_of_one_word(option.name))
            if len(value) > option.longest:
                raise OptionRefused(words_commands.option_too_long(option.name, len(value), option.longest))
    return value


def _within(value: str, least: int | None, most: int | None) -> bool:
    try:
        number = int(value)
    except ValueError:
        return False
    return (least is None or number >= least) and (most is None or number <= most)
