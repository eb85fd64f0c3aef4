"""The limits that Discord puts on what a bot sends, each refused with Discord's own code."""

import re
from typing import Any

from tests.fakes.discord import mentions, refusals
from tests.fakes.discord.files import LIMIT, File
from tests.fakes.discord.messages import COMPONENTS_V2, SILENT, walk

Json = Any

CONTENT, NONCE, NAME = 2000, 25, 100
COMMAND = 8000
"""Characters of all names, descriptions and values of a command with its subcommands and their options."""
_SETTABLE_FLAGS = 1 << 2 | SILENT | 1 << 13 | COMPONENTS_V2 | 1 << 6
_COMMAND_NAME = re.compile(r"[-_'\w]{1,32}")


def check_message(body: Json, files: list[File], *, flags: int | None = None) -> None:
    """Refuse a message that Discord would not take; `flags` are those it has if it is an edit."""
    content = body.get("content") or ""
    if not isinstance(content, str):
        raise refusals.invalid_form("content", "STRING_TYPE_CONVERT", "Could not interpret as string.")
    if len(content) > CONTENT:
        raise refusals.too_long("content", CONTENT)
    if len(str(body.get("nonce") or "")) > NONCE:
        raise refusals.invalid_form("nonce", "NONCE_TYPE_TOO_LONG", f"Nonce must be {NONCE} or fewer characters.")
    if any(len(file.data) > LIMIT for file in files):
        raise refusals.Refusal(413, 40005, "Request entity too large")
    new_flags = body.get("flags") or 0
    if flags is None and new_flags & ~_SETTABLE_FLAGS:
        raise refusals.invalid_form("flags", "BASE_TYPE_BAD_FLAGS", "These flags can't be set.")
    mentions.check_allowed(body.get("allowed_mentions"))
    _check_embeds(body.get("embeds") or [])
    if ((flags or 0) | new_flags) & COMPONENTS_V2:
        _check_second_version(body)
    else:
        _check_first_version(body.get("components") or [])
    _check_components(body.get("components") or [])


def _check_embeds(embeds: list[Json]) -> None:
    if len(embeds) > 10:
        raise refusals.too_long("embeds", 10)
    total = 0
    for number, embed in enumerate(embeds):
        texts = {"title": 256, "description": 4096}
        for name, limit in texts.items():
            if len(embed.get(name) or "") > limit:
                raise refusals.too_long(f"embeds.{number}.{name}", limit)
        fields = embed.get("fields") or []
        if len(fields) > 25:
            raise refusals.too_long(f"embeds.{number}.fields", 25)
        for place, field in enumerate(fields):
            for name, limit in {"name": 256, "value": 1024}.items():
                if not 0 < len(field[name]) <= limit:
                    raise refusals.too_long(f"embeds.{number}.fields.{place}.{name}", limit)
        total += sum(len(embed.get(name) or "") for name in texts) + len((embed.get("footer") or {}).get("text") or "")
        total += sum(len(field["name"]) + len(field["value"]) for field in fields)
    if total > 6000:
        raise refusals.invalid_form("embeds", "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")


def _check_second_version(body: Json) -> None:
    for name in ("content", "embeds"):
        if body.get(name):
            raise refusals.invalid_form(
                name,
                "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                f"The {name} field can't be used with IS_COMPONENTS_V2.",
            )
    components = list(walk(body.get("components") or []))
    if len(components) > 40:
        raise refusals.too_long("components", 40)
    if sum(len(component.get("content") or "") for component in components) > 4000:
        raise refusals.invalid_form("components", "COMPONENT_MAX_TOTAL_TEXT_SIZE", "At most 4000 characters of text.")


def _check_first_version(components: list[Json]) -> None:
    if len(components) > 5:
        raise refusals.too_long("components", 5)
    for number, row in enumerate(components):
        if row.get("type") != 1:
            raise refusals.invalid_form(
                f"components.{number}.type", "UNION_TYPE_CHOICES", "Value of field must be one of (1,)."
            )


def _check_components(components: list[Json]) -> None:
    ids: set[str] = set()
    for component in walk(components):
        if component.get("type") == 1 and not 1 <= len(component.get("components") or ()) <= 5:
            raise refusals.invalid_form("components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
        custom_id = component.get("custom_id")
        if custom_id is not None:
            if not 1 <= len(custom_id) <= 100:
                raise refusals.invalid_form(
                    "components.custom_id", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length."
                )
            if custom_id in ids:
                raise refusals.invalid_form(
                    "components", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
                )
            ids.add(custom_id)
        if component.get("type") == 2:
            if len(component.get("label") or "") > 80:
                raise refusals.too_long("components.label", 80)
            if not component.get("label") and not component.get("emoji"):
                raise refusals.invalid_form(
                    "components", "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A label or emoji is required"
                )
        if len(component.get("options") or ()) > 25:
            raise refusals.too_long("components.options", 25)


def check_name(body: Json) -> str:
    """Take the name of a thread, or refuse it."""
    name = (body.get("name") or "").strip()
    if not 1 <= len(name) <= NAME:
        raise refusals.invalid_form("name", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {NAME} in length.")
    return str(name)


def check_commands(commands: Json) -> None:
    """Refuse commands that could not be registered."""
    names = [(command.get("type") or 1, command.get("name")) for command in commands]
    if len(set(names)) != len(names):
        raise refusals.invalid_form(
            "name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique"
        )
    for kind, limit in {1: 100, 2: 15, 3: 15}.items():
        if sum(1 for command_kind, _ in names if command_kind == kind) > limit:
            raise refusals.Refusal(400, 30032, f"Maximum number of application commands reached ({limit})")
    for number, command in enumerate(commands):
        if (command.get("type") or 1) == 1:
            _check_command(command)
            if command_size(command) > COMMAND:
                raise refusals.invalid_form(
                    str(number), "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({COMMAND})"
                )
        elif not 1 <= len(command["name"]) <= 32:
            raise refusals.too_long("name", 32)


def command_size(part: Json) -> int:
    """Count a command's characters as Discord does."""
    own = sum(len(str(part.get(name) or "")) for name in ("name", "description", "value"))
    return own + sum(command_size(inner) for listed in ("options", "choices") for inner in part.get(listed) or ())


def _check_command(command: Json) -> None:
    name = command["name"]
    if not _COMMAND_NAME.fullmatch(name) or name != name.lower():
        raise refusals.invalid_form("name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
    if not 1 <= len(command.get("description") or "") <= 100:
        raise refusals.invalid_form("description", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    options = command.get("options") or []
    for listed in (options, command.get("choices") or []):
        if len(listed) > 25:
            raise refusals.too_long("options", 25)
    required = [bool(option.get("required")) for option in options]
    if required != sorted(required, reverse=True):
        raise refusals.invalid_form("options", "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", "Required options come first")
    for option in options:
        _check_command(option)
