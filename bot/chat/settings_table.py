"""The table of settings: what operators may choose for what, in which words, and what these mean.

A setting is kept as the text that was typed for it, and read here each time; what can't be read means nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.chat import words
from bot.chat import words_governing as governing
from bot.chat.limits import LIMITS, AmountRefused, parse_amount
from bot.chat.policy import BOT_TURNS, Placement, Rules, Scope, Trigger
from bot.durations import format_duration, parse_duration
from store import ON, PAUSED, WORKSPACE_RUNNING, Payer, Setting, UnstorableText, refuse_unstorable

DEFAULT = "default"
"""Chosen for a setting, it takes the choice back."""
OFF = "off"
ACCESS = "access"
OPERATOR = "operator"
LIMIT = "limit."
"""What the name of a limit has before it when it is a setting's; `WORKSPACE_RUNNING` is a setting's name as it is."""
ALLOW, DENY = "allow", "deny"
USER, GROUP, CATEGORY, CHANNEL = "user:", "group:", "category:", "channel:"
"""What stands before the id of a subject."""
KINDS = ("guests", "external", "people", "direct", "channels")
"""The subjects of access that are no single person or place."""

PERSONA_LENGTH = 4000
SHORTEST_TTL, LONGEST_TTL = timedelta(minutes=1), timedelta(days=36500)
SUBJECT_LENGTH = 300


class SettingRefused(ValueError):
    """There is no such setting or no such value; the message says what there is, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSetting:
    """A setting that a channel or a workspace may have. `choices` are what may be said for it, and what that means in
    `Rules`; none where it is a text or a duration, or hangs on the models there are."""

    summary: str
    choices: Mapping[str, object] = field(default_factory=dict)


SETTINGS: Mapping[str, PlaceSetting] = {
    "trigger": PlaceSetting(summary="what I answer here", choices={chosen.value: chosen for chosen in Trigger}),
    "scope": PlaceSetting(summary="whose a conversation is", choices={chosen.value: chosen for chosen in Scope}),
    "placement": PlaceSetting(summary="where I answer", choices={chosen.value: chosen for chosen in Placement}),
    "bots": PlaceSetting(summary=f"whether I answer other bots, {BOT_TURNS} times in a row", choices={ON: True, OFF: False}),
    "persona": PlaceSetting(summary="what I am told to be"),
    "model": PlaceSetting(summary="the model that is asked first"),
    "ttl": PlaceSetting(summary="how long a conversation is kept in which nothing is said"),
}
"""Every setting of a place by its name, which is that of its field in `Rules`."""


def choices_of(name: str, *, models: Collection[str] = ()) -> tuple[str, ...]:
    """List what may be chosen for a setting of a place, with `DEFAULT`; nothing when there is no such setting."""
    match name:
        case "model":
            return (*models, DEFAULT)
        case "ttl":
            return (OFF, DEFAULT)
    return (*SETTINGS[name].choices, DEFAULT) if name in SETTINGS else ()


def value_of(rules: Rules, name: str) -> str:
    """Say what holds for a setting of a place, in the words that are typed for it."""
    meant = getattr(rules, name)
    match name:
        case "persona" | "model":
            return str(meant)
        case "ttl":
            return OFF if meant is None else format_duration(meant)
    return next(value for value, meaning in SETTINGS[name].choices.items() if meaning == meant)


def meaning_of(name: str, value: str) -> Any:
    """Return what a value that was checked means for its field in `Rules`."""
    match name:
        case "persona" | "model":
            return value
        case "ttl":
            return None if value == OFF else parse_duration(value)
    return SETTINGS[name].choices[value]


def amount_of(name: str, value: str) -> int | None:
    """Return what a value that was checked means for a limit: None when it is lifted."""
    return None if value == OFF else parse_amount(name, value)


def checked(setting: Setting, *, models: Collection[str] = ()) -> str:
    """Return the value to keep for a setting, "" when it is taken back.

    Raises:
        SettingRefused: there is no such setting, it can't be set for that, or it has no such value.
    """
    try:
        refuse_unstorable(setting.subject)
        refuse_unstorable(setting.value)
    except UnstorableText:
        raise SettingRefused(governing.UNSTORABLE_SETTING) from None
    if setting.name in SETTINGS:
        _require(setting.platform != "" and setting.subject == "")
        value = _checked_choice(setting.name, setting.value, models)
    elif setting.name == ACCESS:
        _require(setting.platform != "" and _is_subject_of_access(setting))
        value = _one_of(ACCESS, setting.value, (ALLOW, DENY, DEFAULT))
    elif setting.name == OPERATOR:
        # In direct messages of a platform nobody has groups.
        _require(setting.workspace != "" and setting.channel == "" and _names(setting.subject, GROUP))
        value = _one_of(OPERATOR, setting.value, (ON, DEFAULT))
    elif setting.name == PAUSED:
        _require(setting.subject == "" and (setting.platform != "" or setting.workspace == setting.channel == ""))
        value = _one_of(PAUSED, setting.value, (ON, DEFAULT))
    elif setting.name == WORKSPACE_RUNNING:
        _require(setting.platform != "" and setting.channel == setting.subject == "")
        value = _checked_amount(WORKSPACE_RUNNING, setting.value, may_be_off=False)
    elif setting.name.startswith(LIMIT) and setting.name.removeprefix(LIMIT) in LIMITS:
        value = _checked_limit(setting)
    else:
        raise SettingRefused(words.not_a_choice("setting", tuple(SETTINGS)))
    return "" if value == DEFAULT else value


def _checked_choice(name: str, value: str, models: Collection[str]) -> str:
    if value == DEFAULT:
        return value
    match name:
        case "persona":
            if not value.strip():
                raise SettingRefused(governing.PERSONA_EMPTY)
            if len(value) > PERSONA_LENGTH:
                raise SettingRefused(governing.persona_too_long(len(value), PERSONA_LENGTH))
            return value
        case "ttl":
            return _checked_ttl(value)
    return _one_of(name, value, choices_of(name, models=models))


def _checked_ttl(value: str) -> str:
    if value == OFF:
        return value
    try:
        ttl = parse_duration(value)
    except ValueError:
        raise SettingRefused(governing.TTL_REFUSED) from None
    if not SHORTEST_TTL <= ttl <= LONGEST_TTL:
        raise SettingRefused(governing.TTL_REFUSED)
    return value


def _checked_limit(setting: Setting) -> str:
    name = setting.name.removeprefix(LIMIT)
    payer = LIMITS[name][0]
    of_everything = setting.platform == setting.workspace == ""
    whose = {Payer.USER: USER, Payer.CHANNEL: CHANNEL}.get(payer)
    if setting.channel or of_everything is not (payer is Payer.ALL):
        raise SettingRefused(governing.NO_SUCH_PLACE)
    if setting.subject and (whose is None or not _names(setting.subject, whose)):
        raise SettingRefused(governing.limit_for_others(name))
    return _checked_amount(name, setting.value, may_be_off=True)


def _checked_amount(name: str, value: str, *, may_be_off: bool) -> str:
    if value == DEFAULT or (may_be_off and value == OFF):
        return value
    try:
        amount = parse_amount(name, value)
    except AmountRefused as exc:
        raise SettingRefused(str(exc)) from exc
    # Every claim reads this number without knowing how it is typed.
    return str(amount) if name == WORKSPACE_RUNNING else value


def _is_subject_of_access(setting: Setting) -> bool:
    if setting.channel:
        return setting.subject == ""
    return setting.subject in KINDS or any(_names(setting.subject, kind) for kind in (USER, GROUP, CATEGORY))


def _names(subject: str, kind: str) -> bool:
    return subject.startswith(kind) and len(kind) < len(subject) <= SUBJECT_LENGTH


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise SettingRefused(words.not_a_choice(name, choices))
    return value


def _require(fits: bool) -> None:
    if not fits:
        raise SettingRefused(governing.NO_SUCH_PLACE)
