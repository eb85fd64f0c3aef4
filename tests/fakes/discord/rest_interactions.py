"""REST calls that answer interactions, and those that register commands."""

from datetime import UTC, datetime
from typing import Any

from tests.fakes.discord import doings, forms, refusals
from tests.fakes.discord.interactions import CHOICES, DEFER, DEFER_UPDATE, MODAL, PONG, REPLY, UPDATE, Interaction, Response
from tests.fakes.discord.messages import COMMAND, CONTEXT_MENU_COMMAND, DEFAULT, EPHEMERAL, LOADING, Message
from tests.fakes.discord.refusals import Refusal
from tests.fakes.discord.rest import Answer, Call, Routes
from tests.fakes.discord.rest_messages import apply, compose

Json = Any


def respond(call: Call) -> Json:
    interaction = _by_token(call)
    if interaction is None or interaction.id != call.id("interaction_id"):
        raise refusals.unknown("Interaction")
    if interaction.acknowledged:
        raise Refusal(400, 40060, "Interaction has already been acknowledged.")
    elapsed = datetime.now(UTC) - interaction.started_at
    if interaction.dead or elapsed > call.discord.interaction_limit:
        interaction.failed = True
        raise refusals.unknown("Interaction")
    kind, data = call.body["type"], call.body.get("data") or {}
    message = _first_message(call, interaction, kind, data)
    interaction.responses.append(Response(kind, data, elapsed))
    interaction.changed.set()
    if call.web.query.get("with_response") not in ("1", "true"):
        return None
    shown = message if message is not None else interaction.message if kind in (DEFER_UPDATE, UPDATE) else None
    callback: Json = {"id": str(interaction.id), "type": interaction.kind}
    resource: Json = {"type": kind}
    if shown is not None:
        callback |= {
            "response_message_id": str(shown.id),
            "response_message_loading": shown.loading,
            "response_message_ephemeral": bool(shown.flags & EPHEMERAL),
        }
        resource["message"] = shown.json(content=True)
    return {"interaction": callback, "resource": resource}


def _first_message(call: Call, interaction: Interaction, kind: int, data: Json) -> Message | None:
    """Do what the first response says; return the message that it makes."""
    if kind == REPLY:
        return _put(interaction, compose(interaction.channel, data, call.files))
    if kind == DEFER:
        bot, number = call.discord.bot, call.discord.snowflake()
        return _put(
            interaction, Message(number, interaction.channel, bot, flags=LOADING | (data.get("flags") or 0) & EPHEMERAL)
        )
    if kind == UPDATE:
        if interaction.message is None:
            raise refusals.invalid_form("type", "INTERACTION_RESPONSE_TYPE", "There is no message to update.")
        _change(interaction.message, data, call)
    elif kind == MODAL:
        if not 1 <= len(data.get("title") or "") <= 45:
            raise refusals.invalid_form("data.title", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 45 in length.")
    elif kind == CHOICES:
        if len(data["choices"]) > 25:
            raise refusals.too_long("data.choices", 25)
        for choice in data["choices"]:
            if not 1 <= len(choice["name"]) <= 100 or len(str(choice["value"])) > 100:
                raise refusals.invalid_form("data.choices", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    elif kind not in (PONG, DEFER_UPDATE):
        raise refusals.invalid_form("type", "BASE_TYPE_CHOICES", "This is no type of response.")
    return None


def follow_up(call: Call) -> Json:
    interaction = _alive(call)
    if not interaction.acknowledged:
        raise refusals.unknown("Webhook")
    original = interaction.original
    if original is not None and original.loading:
        _change(original, call.body, call)  # the first follow-up to a deferred response takes its place
        return _show(original)
    return _show(_put(interaction, compose(interaction.channel, call.body, call.files)))


def read(call: Call) -> Json:
    return _show(_answer_of(_alive(call), call))


def edit(call: Call) -> Json:
    message = _answer_of(_alive(call), call)
    _change(message, call.body, call)
    return _show(message)


def delete(call: Call) -> None:
    message = _answer_of(_alive(call), call)
    if message.flags & EPHEMERAL:
        message.deleted = True
    else:
        message.channel.remove(message)


def _put(interaction: Interaction, message: Message) -> Message:
    """Show an answer: to all in the channel, or to the user alone."""
    kinds = {1: COMMAND, 2: CONTEXT_MENU_COMMAND, 3: CONTEXT_MENU_COMMAND}
    message.kind = kinds.get(interaction.data.get("type", 0), DEFAULT)
    message.interaction = interaction.metadata()
    interaction.messages.append(message)
    if message.flags & EPHEMERAL:
        return message
    if message.loading:
        message.channel.add(message)
    else:
        doings.send(message.channel, message)
    return message


def _change(message: Message, body: Json, call: Call) -> None:
    was_loading = message.loading
    apply(message, {name: value for name, value in body.items() if name != "flags"}, call.files)
    message.flags = message.flags & ~LOADING | (body.get("flags") or 0) & ~EPHEMERAL
    if was_loading:  # an answer that took its time, not one that was edited
        message.history.clear()
        message.edited_at = None
    if not message.flags & EPHEMERAL:
        message.channel.tell_of(message, "MESSAGE_UPDATE")


def _show(message: Message) -> Json:
    return message.json(content=True)


def _by_token(call: Call) -> Interaction | None:
    token = call.web.match_info["token"]
    return next((interaction for interaction in call.discord.interactions if interaction.token == token), None)


def _alive(call: Call) -> Interaction:
    interaction = _by_token(call)
    if interaction is None:
        raise refusals.unknown("Webhook")
    if interaction.dead:
        raise Refusal(401, 50027, "Invalid Webhook Token")
    return interaction


def _answer_of(interaction: Interaction, call: Call) -> Message:
    if call.web.match_info["message_id"] == "@original":
        found = interaction.original
    else:
        own = [*interaction.messages, *([interaction.message] if interaction.message else [])]
        found = next((message for message in own if message.id == call.id("message_id")), None)
    if found is None or found.deleted:
        raise refusals.unknown("Message")
    return found


def commands(call: Call) -> Json:
    return _own(call, call.discord.commands)


def put_commands(call: Call) -> Json:
    call.discord.commands = _register(call, call.discord.commands)
    call.discord.command_puts += 1
    return call.discord.commands


def guild_commands(call: Call) -> Json:
    return _own(call, call.discord.guild_commands.get(call.id("guild_id"), []))


def put_guild_commands(call: Call) -> Json:
    guild = call.id("guild_id")
    call.discord.guild_commands[guild] = _register(call, call.discord.guild_commands.get(guild, []))
    return call.discord.guild_commands[guild]


def _own(call: Call, found: Json) -> Json:
    if call.id("application_id") != call.discord.application_id:
        raise Refusal(403, 20012, "You are not authorized to perform this action on this application")
    return found


def _register(call: Call, before: list[Json]) -> list[Json]:
    """Take the whole list; a command that was there keeps its id."""
    _own(call, None)
    forms.check_commands(call.body)
    ids = {(command["type"], command["name"]): command["id"] for command in before}
    registered = []
    for command in call.body:
        kind = command.get("type") or 1
        number = ids.get((kind, command["name"])) or str(call.discord.snowflake())
        fixed = {"id": number, "application_id": str(call.discord.application_id), "type": kind, "version": number}
        registered.append({"description": "", "default_member_permissions": None} | command | fixed)
    return registered


def unknown_route(call: Call) -> Json:
    return Answer(404, {"message": "404: Not Found", "code": 0})


_WEBHOOK = "/webhooks/{application_id}/{token}"
_COMMANDS, _GUILD_COMMANDS = (
    "/applications/{application_id}/commands",
    "/applications/{application_id}/guilds/{guild_id}/commands",
)

ROUTES: Routes = {
    ("POST", "/interactions/{interaction_id}/{token}/callback"): respond,
    ("POST", _WEBHOOK): follow_up,
    ("GET", _WEBHOOK + "/messages/{message_id}"): read,
    ("PATCH", _WEBHOOK + "/messages/{message_id}"): edit,
    ("DELETE", _WEBHOOK + "/messages/{message_id}"): delete,
    ("GET", _COMMANDS): commands,
    ("PUT", _COMMANDS): put_commands,
    ("GET", _GUILD_COMMANDS): guild_commands,
    ("PUT", _GUILD_COMMANDS): put_guild_commands,
}
