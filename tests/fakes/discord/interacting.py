"""How people start interactions: commands, autocompletion, buttons, context menus and forms."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.fakes.discord.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL_SUBMIT, Interaction
from tests.fakes.discord.messages import walk

if TYPE_CHECKING:
    from tests.fakes.discord.messages import Message
    from tests.fakes.discord.people import User
    from tests.fakes.discord.places import Channel

Json = Any

SUBCOMMAND, SUBCOMMAND_GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER = range(1, 11)
_RESOLVED = {USER: "users", CHANNEL: "channels", ROLE: "roles"}


class NotOffered(AssertionError):
    """Discord's client would not let the user do this: there is no such command, option or button."""


async def start(user: "User", channel: "Channel", kind: int, data: Json, message: "Message | None" = None) -> Interaction:
    """Send an interaction to the bot and wait for its first response."""
    discord = channel.discord
    if channel.guild is not None and user.id not in channel.guild.members:
        channel.guild.join(user)
    interaction = Interaction(discord, discord.snowflake(), kind, user, channel, data, message)
    discord.interactions.append(interaction)
    discord.gateway.dispatch("INTERACTION_CREATE", interaction.json(), guild=channel.guild, needs=0)
    await interaction.settle()
    return interaction


async def slash(user: "User", channel: "Channel", names: Sequence[str], options: dict[str, Any]) -> Interaction:
    return await start(user, channel, COMMAND, _command(channel, names, options))


async def autocomplete(
    user: "User", channel: "Channel", names: Sequence[str], focused: str, value: Any, others: dict[str, Any]
) -> list[Json]:
    data = _command(channel, names, others | {focused: value}, focused=focused)
    return (await start(user, channel, AUTOCOMPLETE, data)).choices


async def use_on(user: "User", message: "Message", name: str) -> Interaction:
    channel = message.channel
    command = _registered(channel, name, kind=3)
    data = {
        "id": command["id"],
        "name": name,
        "type": 3,
        "target_id": str(message.id),
        "resolved": {"messages": {str(message.id): message.json(content=True)}},
    }
    return await start(user, channel, COMMAND, data)


async def click(user: "User", message: "Message", button: str, values: list[str]) -> Interaction:
    pressable = [part for part in walk(message.components) if part.get("custom_id")]
    for part in pressable:
        if button in (part["custom_id"], part.get("label")) and not part.get("disabled"):
            data = {"custom_id": part["custom_id"], "component_type": part["type"], "id": part.get("id", 1)}
            chosen = {"values": values} if part["type"] != 2 else {}
            return await start(user, message.channel, COMPONENT, data | chosen, message)
    raise NotOffered(f"no {button!r} to press, only {[part.get('label') or part['custom_id'] for part in pressable]}")


async def submit(user: "User", opened: Interaction, values: dict[str, str]) -> Interaction:
    if opened.modal is None:
        raise NotOffered("no form is open")
    fields = {part["custom_id"] for part in walk(opened.modal["components"]) if part.get("custom_id")}
    if unknown := set(values) - fields:
        raise NotOffered(f"the form has no {unknown}, only {fields}")
    components = [_filled(component, values) for component in opened.modal["components"]]
    data = {"custom_id": opened.modal["custom_id"], "components": components, "resolved": {}}
    return await start(user, opened.channel, MODAL_SUBMIT, data, opened.message)


def _filled(component: Json, values: dict[str, str]) -> Json:
    """Write a form's part with what the user put in."""
    filled: Json = {"type": component["type"], "id": component.get("id", 1)}
    if "components" in component:
        filled["components"] = [_filled(inner, values) for inner in component["components"]]
    if "component" in component:
        filled["component"] = _filled(component["component"], values)
    if "custom_id" in component:
        value = values.get(component["custom_id"], component.get("value", ""))
        filled |= {"custom_id": component["custom_id"]} | (
            {"value": value} if component["type"] == 4 else {"values": [value]}
        )
    return filled


def _registered(channel: "Channel", name: str, *, kind: int) -> Json:
    guild = channel.guild.id if channel.guild is not None else 0
    offered = [*channel.discord.guild_commands.get(guild, ()), *channel.discord.commands]
    for command in offered:
        if command["name"] == name and (command.get("type") or 1) == kind:
            return command
    raise NotOffered(f"no command {name!r}, only {[command['name'] for command in offered]}")


def _command(channel: "Channel", names: Sequence[str], options: dict[str, Any], *, focused: str = "") -> Json:
    """Write what the client sends for a command: down to the subcommand, then its options."""
    command = _registered(channel, names[0], kind=1)
    resolved: dict[str, Json] = {}
    path = [command]
    for name in names[1:]:
        path.append(_named(path[-1], name))
    known = path[-1].get("options") or []
    if any(option["type"] in (SUBCOMMAND, SUBCOMMAND_GROUP) for option in known):
        raise NotOffered(f"{' '.join(names)} needs one of {[option['name'] for option in known]}")
    missing = [option["name"] for option in known if option.get("required") and option["name"] not in options]
    if missing and not focused:
        raise NotOffered(f"/{' '.join(names)} needs {missing}")
    written = []
    for name, value in options.items():
        option = _named(path[-1], name)
        field = {"name": name, "type": option["type"], "value": _value(option, value, resolved, channel)}
        written.append(field | ({"focused": True} if name == focused else {}))
    for part in reversed(path[1:]):
        written = [{"name": part["name"], "type": part["type"], "options": written}]
    return {"id": command["id"], "name": names[0], "type": 1, "options": written, "resolved": resolved}


def _named(parent: Json, name: str) -> Json:
    for option in parent.get("options") or ():
        if option["name"] == name:
            return option
    raise NotOffered(f"{parent['name']} has no {name!r}, only {[o['name'] for o in parent.get('options') or ()]}")


def _value(option: Json, value: Any, resolved: dict[str, Json], channel: "Channel") -> Json:
    """Write an option's value; people and places go by id, with what they are beside."""
    kind = option["type"]
    if kind in _RESOLVED:
        more = {"permissions": str((1 << 53) - 1)} if kind == CHANNEL else {}
        resolved.setdefault(_RESOLVED[kind], {})[str(value.id)] = value.json() | more
        if kind == USER and channel.guild is not None:
            member = channel.guild.join(value).json(with_user=False) | {"permissions": "0"}
            resolved.setdefault("members", {})[str(value.id)] = member
        return str(value.id)
    allowed = [choice["value"] for choice in option.get("choices") or ()]
    if allowed and value not in allowed:
        raise NotOffered(f"{option['name']} must be one of {allowed}, not {value!r}")
    low, high = option.get("min_value"), option.get("max_value")
    if (low is not None and value < low) or (high is not None and value > high):
        raise NotOffered(f"{option['name']} must lie between {low} and {high}, not be {value!r}")
    return value
