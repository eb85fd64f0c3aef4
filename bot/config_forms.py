"""The form of one setting: what may stand in it, checked without ever repeating what stood there.

Each form is a pydantic validator that raises `Refusal`, whose text names the expected form and the fix and is made from
constants alone: pydantic's own errors carry the rejected value, of `SecretStr` fields as well (reliability M12).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from bot.durations import format_duration, parse_duration
from bot.hosts import is_loopback

REFUSED = "setting_refused"
"""The type of our own errors: only their messages are shown."""

Provider = Literal["openai", "anthropic", "local", "echo"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
LogFormat = Literal["console", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A person who may give operator commands. `workspace` is "" on Discord, where a user id is unique everywhere."""

    platform: str
    workspace: str
    user_id: str

    def __str__(self) -> str:
        """Write the person as `OPERATORS` does."""
        return f"{self.platform}:{self.workspace}{'/' if self.workspace else ''}{self.user_id}"


def refuse(expected: str, fix: str) -> NoReturn:
    """Reject a setting's value."""
    raise PydanticCustomError(REFUSED, "{line}", {"line": f"expected {expected}; {fix}"})


def secret(expected: str, *, prefix: str = "", fix: str) -> BeforeValidator:
    """A secret of printable ASCII without blanks, as it is sent in a header. `fix` says where a right one is found."""

    def check(value: Any) -> Any:
        if value is None:
            return None
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if text != text.strip() or "\n" in text or "\r" in text:
            refuse(expected, "remove the blanks and line breaks around it")
        if text[:1] in "\"'" or text[-1:] in "\"'":
            refuse(expected, "remove the quotes")
        if text.lower().startswith(("bot ", "bearer ", "basic ")):
            refuse(expected, "remove the word in front of it, Parley adds it")
        if not text.isascii() or not text.isprintable() or " " in text:
            refuse(expected, "copy it again, it has blanks or signs that no such secret has")
        if not text.startswith(prefix) or text == prefix:
            refuse(expected, fix)
        if not prefix and text.startswith(("xoxb-", "xoxp-", "xapp-")):
            refuse(expected, f"this is a token of Slack; {fix}")
        return value

    return BeforeValidator(check)


def integer(low: int, high: int) -> BeforeValidator:
    """A whole number of the range."""
    expected = f"a whole number from {low} to {high}"

    def check(value: Any) -> int | None:
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,15}", str(value), re.ASCII):
            refuse(expected, "write digits only")
        number = int(str(value))
        if not low <= number <= high:
            refuse(expected, "choose one in that range")
        return number

    return BeforeValidator(check)


def decimal(low: float, high: float) -> BeforeValidator:
    """A decimal number of the range; NaN and infinity are none."""
    expected = f"a number from {low:g} to {high:g}"

    def check(value: Any) -> float | None:
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", str(value), re.ASCII):
            refuse(expected, "write it with digits and at most one point, such as 0.7")
        number = float(str(value))
        if not low <= number <= high:
            refuse(expected, "choose one in that range")
        return number

    return BeforeValidator(check)


def duration(low: timedelta, high: timedelta, *, off: bool = False) -> BeforeValidator:
    """A duration of the range; with `off`, the word `off` for none at all."""
    expected = f"a duration from {format_duration(low)} to {format_duration(high)}{' or off' if off else ''}"

    def check(value: Any) -> timedelta | None:
        if off and (value is None or value == "off"):
            return None
        try:
            length = value if isinstance(value, timedelta) else parse_duration(str(value))
        except ValueError:
            refuse(expected, "write a whole number and one of s, m, h, d without a blank, such as 90s, 30m, 12h or 30d")
        if not low <= length <= high:
            refuse(expected, "choose one in that range")
        return length

    return BeforeValidator(check)


def choice(*allowed: str, fold: Callable[[str], str] = str.lower) -> BeforeValidator:
    """One of some words, in small or capital letters."""

    def check(value: Any) -> str | None:
        if value is not None and fold(str(value)) not in allowed:
            refuse(f"one of {', '.join(allowed)}", "choose one of them")
        return None if value is None else fold(str(value))

    return BeforeValidator(check)


def check_switch(value: Any) -> bool | None:
    """On or off, also in the words that other programs use for it."""
    if value is None:
        return None
    match str(value).lower():
        case "on" | "true" | "yes" | "1":
            return True
        case "off" | "false" | "no" | "0":
            return False
        case _:
            refuse("on or off", "write one of these two words")


def line(expected: str, *, most: int = 200) -> BeforeValidator:
    """A short text of one line without blanks around it."""

    def check(value: Any) -> str | None:
        if value is None:
            return None
        text = str(value)
        if not text or text != text.strip() or not text.isprintable() or len(text) > most:
            refuse(expected, f"write at most {most} characters on one line, without blanks around them")
        if text[0] in "\"'" and text[-1] == text[0]:
            refuse(expected, "remove the quotes")
        return text

    return BeforeValidator(check)


def url(expected: str, *, schemes: tuple[str, str], path: str = "", plain_anywhere: bool = False) -> BeforeValidator:
    """An address without credentials, query or fragment whose path ends in `path`; a trailing slash makes no difference.

    `schemes` are the encrypted and the plain one. The plain one is for this machine, because secrets travel in the clear;
    `plain_anywhere` leaves that to `bot.config_checks`, which sees whether there is a secret.
    """
    encrypted, plain = schemes

    def check(value: Any) -> str | None:
        if value is None:
            return None
        parts = _split(str(value))
        if parts is None or parts.scheme not in schemes:
            refuse(expected, f"write it with {encrypted}:// in front, a host and no blanks")
        if parts.username is not None or parts.password is not None:
            refuse(expected, "take the user and password out of it, secrets have settings of their own")
        if parts.query or parts.fragment or str(value).endswith(("?", "#")):
            refuse(expected, "take away everything from ? or # on")
        if parts.scheme == plain and not plain_anywhere and not is_loopback(parts.hostname or ""):
            refuse(expected, f"use {encrypted}://: by {plain}:// to another machine everybody on its way reads the token")
        if not parts.path.rstrip("/").endswith(path.rstrip("/")):
            refuse(expected, f"its path ends in {path}")
        return str(value).rstrip("/") + ("/" if path.endswith("/") else "")

    return BeforeValidator(check)


def _split(value: str) -> SplitResult | None:
    if not value.isprintable() or any(sign.isspace() or sign in "\\\"'<>" for sign in value):
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    return parts if parts.hostname and port != 0 else None


def check_database_url(value: Any) -> Any:
    """A store's address; never repeated, since it may hold a password."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    expected = "sqlite:///parley.db, sqlite:////absolute/path.db, sqlite:///:memory: or postgresql://user:password@host/name"
    scheme, _, rest = text.partition("://")
    if text != text.strip() or not text.isprintable() or text[:1] in "\"'":
        refuse(expected, "remove blanks, line breaks and quotes around it")
    if scheme == "sqlite":
        if not rest.startswith("/") or rest.endswith("/"):
            refuse(expected, "name a file, behind three slashes from here or four from the root")
        if "?" in rest or "#" in rest:
            refuse(expected, "a file takes no options, take away everything from ? or # on")
        return value
    if scheme not in ("postgresql", "postgres") or not rest:
        refuse(expected, "it begins with sqlite:/// or postgresql://, without a driver's name")
    try:
        urlsplit(text)
    except ValueError:
        refuse(expected, "write special signs of user and password as %XX")
    return value


def check_host(value: Any) -> str:
    """A name or address to listen on."""
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?", text, re.ASCII):
        refuse("a host name or an IP address, such as 127.0.0.1", "leave out http:// and the port, which is HTTP_PORT")
    return text.strip("[]")


def check_names(value: Any) -> tuple[str, ...]:
    """Host names with commas between them, in small letters."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else [str(name) for name in value]
    if not all(re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", name, re.ASCII) for name in names):
        refuse("host names with commas between them, such as parley.example.com", "leave out https://, port and path")
    return tuple(dict.fromkeys(name.lower() for name in names))


def check_models(value: Any) -> tuple[str, ...]:
    """Model names with commas between them."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else [str(name) for name in value]
    if not all(name.isprintable() and 0 < len(name) <= 200 and " " not in name for name in names):
        refuse("model names with commas between them", "take away empty names, blanks and quotes")
    return tuple(dict.fromkeys(names))


_OPERATOR = re.compile(
    r"(?P<discord>discord):(?P<id>[0-9]{1,20})|slack:(?P<team>[A-Z0-9]{1,30})/(?P<user>[A-Z0-9]{1,30})", re.ASCII
)


def check_operators(value: Any) -> tuple[Operator, ...]:
    """The people who may operate Parley."""
    if not isinstance(value, str):
        return tuple(value)
    operators = []
    for entry in value.split(","):
        found = _OPERATOR.fullmatch(entry.strip())
        if found is None:
            refuse(
                "discord:<user id> and slack:<team id>/<user id> with commas between them",
                "ids are meant, not names: 'Copy User ID' on Discord, 'Copy member ID' and the workspace's T... on Slack",
            )
        if found["id"]:
            operators.append(Operator(platform="discord", workspace="", user_id=found["id"]))
        else:
            operators.append(Operator(platform="slack", workspace=found["team"], user_id=found["user"]))
    return tuple(dict.fromkeys(operators))


def check_model_file(value: Any) -> Path | None:
    """The weights of an embedded model: a GGUF file that is there."""
    if value is None:
        return None
    path = Path(str(value)).expanduser()
    expected = "the path of a GGUF file"
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except (OSError, ValueError):
        refuse(expected, "make sure that the file is there and that Parley may read it")
    if magic != b"GGUF":
        refuse(expected, "this file is something else")
    return path


PROMPT_BYTES = 64 * 1024
"""The longest system prompt: beyond it no model has room left for a conversation."""


def check_prompt(value: Any) -> str:
    """A persona in words."""
    text = str(value).strip()
    if not text or "\0" in text or len(text.encode("utf-8", "replace")) > PROMPT_BYTES:
        refuse(
            f"a text of at most {PROMPT_BYTES // 1024} KiB", "write what the bot is and how it answers, or leave it unset"
        )
    return text


def check_prompt_file(value: Any) -> Path | None:
    """A file that holds a persona; `read_prompt` reads it."""
    if value is None:
        return None
    path = Path(str(value)).expanduser()
    read_prompt(path)
    return path


def read_prompt(path: Path) -> str:
    """Return the persona that the file holds."""
    expected = f"the path of a text file in UTF-8 of at most {PROMPT_BYTES // 1024} KiB"
    try:
        with path.open("rb") as file:
            raw = file.read(PROMPT_BYTES + 1)
    except (OSError, ValueError):
        refuse(expected, "make sure that the file is there and that Parley may read it")
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        # A text that is cut at the limit may end inside a character: too long comes first.
        refuse(expected, "make it shorter" if len(raw) > PROMPT_BYTES else "save it as UTF-8")
    if len(raw) > PROMPT_BYTES:
        refuse(expected, "make it shorter")
    if not text or "\0" in text:
        refuse(expected, "write what the bot is and how it answers into it")
    return text
