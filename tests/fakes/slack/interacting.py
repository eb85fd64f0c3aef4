"""What people press, choose, type as a command and send in a modal, and what the bot shows them in return."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.fakes.slack import blocks as block_kit
from tests.fakes.slack.dispatch import INTERACTIVE, SLASH, Attempt
from tests.fakes.slack.messages import Message

if TYPE_CHECKING:
    from tests.fakes.slack.people import User
    from tests.fakes.slack.places import Channel
    from tests.fakes.slack.server import FakeSlack

Json = Any


class NotOffered(AssertionError):
    """Somebody was to use what is not there."""


@dataclass(eq=False, slots=True)
class Ephemeral:
    """What the bot shows to one person only."""

    user: "User" = field(repr=False)
    channel: "Channel" = field(repr=False)
    text: str
    ts: str
    blocks: list[Json] | None = None
    thread_ts: str | None = None
    deleted: bool = False
    history: list[str] = field(default_factory=list)

    @property
    def shown(self) -> str:
        return "\n".join(block_kit.texts(self.blocks)) if self.blocks else self.text

    @property
    def buttons(self) -> list[str]:
        return [element["action_id"] for element in block_kit.elements_of(self.blocks or [])]


@dataclass(eq=False, slots=True)
class View:
    """A modal or an App Home, as the bot described it last."""

    id: str
    user: "User" = field(repr=False)
    body: Json
    open: bool = True
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def blocks(self) -> list[Json]:
        return list(self.body.get("blocks", []))

    @property
    def shown(self) -> str:
        return "\n".join(block_kit.texts([self.body.get("title") or {}, *self.blocks]))

    @property
    def buttons(self) -> list[str]:
        return [element["action_id"] for element in block_kit.elements_of(self.blocks)]

    def json(self) -> Json:
        team = self.user.team
        about = {"id": self.id, "team_id": team.id, "app_id": self.user.slack.app_id, "bot_id": team.bot.bot_id}
        defaults = {"callback_id": "", "private_metadata": "", "state": {"values": {}}, "hash": f"{self.id}.hash"}
        return defaults | self.body | about | {"app_installed_team_id": team.id, "root_view_id": self.id}


@dataclass(eq=False, slots=True)
class Interaction:
    """One thing that somebody did, and all that came of it."""

    user: "User" = field(repr=False)
    channel: "Channel | None" = field(repr=False)
    payload: Json
    trigger_id: str
    at: timedelta
    shown: Message | Ephemeral | View | None = None
    attempt: Attempt | None = None
    responses: list[Json] = field(default_factory=list)
    """What was posted to the response_url."""
    views: list[View] = field(default_factory=list)
    """The modals that it opened."""
    triggered: bool = False
    """Whether its trigger opened a modal already."""
    cut: bool = False
    """Whether the connection breaks once something was posted to the response_url."""

    @property
    def acked(self) -> bool:
        return self.attempt is not None and self.attempt.acked

    @property
    def answer(self) -> Json:
        """What came with the acknowledgement."""
        return self.attempt.answer if self.attempt else None


async def slash(user: "User", command: str, text: str, channel: "Channel") -> Interaction:
    payload = {
        "token": "verification-token",
        "team_id": user.team.id,
        "team_domain": user.team.domain,
        "channel_id": channel.id,
        "channel_name": {"im": "directmessage", "private": "privategroup"}.get(channel.kind, channel.name),
        "user_id": user.id,
        "user_name": user.name.lower(),
        "command": command,
        "text": text,
        "api_app_id": user.slack.app_id,
        "is_enterprise_install": str(user.team.org_wide).lower(),
    }
    if user.team.enterprise:
        payload |= {"enterprise_id": user.team.enterprise, "enterprise_name": "Enterprise"}
    interaction = await _use(user, channel, payload, SLASH)
    if interaction.acked and interaction.answer:
        respond(interaction, interaction.answer)
    return interaction


async def click(user: "User", shown: Message | Ephemeral | View, action_id: str, value: str | None) -> Interaction:
    element = _find(_elements(shown), "action_id", action_id)
    return await _press(user, shown, element, value if value is not None else element.get("value"))


async def feedback(user: "User", shown: Message | Ephemeral, good: bool) -> Interaction:
    element = _find(_elements(shown), "type", "feedback_buttons")
    return await _press(user, shown, element, element["positive_button" if good else "negative_button"]["value"])


async def _press(user: "User", shown: Message | Ephemeral | View, element: Json, value: str | None) -> Interaction:
    slack = user.slack
    action = {key: element[key] for key in ("action_id", "block_id", "type", "text", "placeholder") if key in element}
    if element["type"].endswith("_select") or element["type"] in ("overflow", "radio_buttons"):
        options = element.get("options") or [
            option for group in element.get("option_groups", []) for option in group["options"]
        ]
        chosen = _find(options, "value", value) if options else value
        kind = {"users_select": "selected_user", "conversations_select": "selected_conversation"}.get(element["type"])
        action |= {kind or "selected_option": chosen}
    elif value is not None:
        action["value"] = value
    payload: Json = {"type": "block_actions", "actions": [action | {"action_ts": slack.stamps.new(slack.clock.now())}]}
    if isinstance(shown, View):
        payload |= {"container": {"type": "view", "view_id": shown.id}, "view": shown.json()}
        return await _use(user, None, payload, INTERACTIVE, shown)
    ephemeral = isinstance(shown, Ephemeral)
    container: Json = {"type": "message", "message_ts": shown.ts, "channel_id": shown.channel.id, "is_ephemeral": ephemeral}
    if shown.thread_ts:
        container["thread_ts"] = shown.thread_ts
    payload |= {"container": container, "state": {"values": {}}}
    if isinstance(shown, Message):
        payload["message"] = shown.json()
    return await _use(user, shown.channel, payload, INTERACTIVE, shown)


async def shortcut(user: "User", message: Message | None, callback_id: str) -> Interaction:
    slack = user.slack
    payload: Json = {"callback_id": callback_id, "action_ts": slack.stamps.new(slack.clock.now())}
    if message is None:
        return await _use(user, None, payload | {"type": "shortcut"}, INTERACTIVE)
    payload |= {"type": "message_action", "message": message.json(), "message_ts": message.ts}
    return await _use(user, message.channel, payload, INTERACTIVE, message)


async def submit(user: "User", view: View, values: dict[str, Json]) -> Interaction:
    """Send a modal; what the app answers (`errors`, `update`, `push`, `clear`) is done to it."""
    if not view.open:
        raise NotOffered("the modal is closed")
    state: Json = {}
    for element in block_kit.elements_of(block_kit.named(view.blocks)):
        name = element["action_id"]
        entered = values.get(name, element.get("initial_value"))
        key = "selected_option" if isinstance(entered, dict) else "value"
        state.setdefault(element["block_id"], {})[name] = {"type": element["type"], key: entered}
    described = view.json() | {"state": {"values": state}}
    payload = {"type": "view_submission", "view": described, "response_urls": []}
    interaction = await _use(user, None, payload, INTERACTIVE, view)
    answer = interaction.answer or {}
    action = answer.get("response_action")
    if action == "errors":
        view.errors = answer["errors"]
    elif action == "update":
        view.body = answer["view"]
    elif action == "push":
        interaction.views.append(user.slack.open_view(user, answer["view"]))
    elif interaction.acked:
        view.open = False
    return interaction


async def close(user: "User", view: View) -> Interaction | None:
    view.open = False
    if not view.body.get("notify_on_close"):
        return None
    return await _use(user, None, {"type": "view_closed", "view": view.json(), "is_cleared": False}, INTERACTIVE, view)


async def _use(
    user: "User", channel: "Channel | None", payload: Json, kind: str, shown: Message | Ephemeral | View | None = None
) -> Interaction:
    slack = user.slack
    interaction = Interaction(user, channel, payload, slack.new_id("trigger."), slack.clock.monotonic(), shown)
    payload["trigger_id"] = interaction.trigger_id
    if channel is not None or kind == SLASH:
        payload["response_url"] = f"{slack.files_url}/response/{interaction.trigger_id}"
    if kind == INTERACTIVE:
        payload |= {"token": "verification-token", "api_app_id": slack.app_id, "user": user.short_json()}
        payload |= {"team": {"id": user.team.id, "domain": user.team.domain}, "is_enterprise_install": user.team.org_wide}
        payload["enterprise"] = {"id": user.team.enterprise, "name": "Enterprise"} if user.team.enterprise else None
        if channel is not None:
            payload["channel"] = {"id": channel.id, "name": channel.name or "directmessage"}
    slack.interactions.append(interaction)
    interaction.attempt = await slack.dispatch.interaction(kind, payload)
    return interaction


def respond(interaction: Interaction, body: Json) -> None:
    """Show what the app answers a command, or posts to a response_url."""
    slack, channel = interaction.user.slack, interaction.channel
    assert channel is not None
    shown = interaction.shown if isinstance(interaction.shown, Message | Ephemeral) else None
    if body.get("delete_original") and shown is not None:
        shown.deleted = True
        return
    if body.get("replace_original") and shown is not None:
        shown.history.append(shown.text)
        shown.text, shown.blocks = body.get("text", ""), body.get("blocks")
        return
    blocks = block_kit.check(body["blocks"]) if body.get("blocks") else None
    if body.get("response_type") == "in_channel":
        posted = slack.post_as_bot(channel, body.get("text", ""), blocks, body.get("thread_ts"))
        interaction.shown = interaction.shown or posted
    else:
        stamp = slack.stamps.new(slack.clock.now())
        thread = body.get("thread_ts") or (shown.thread_ts if shown else None)
        ephemeral = Ephemeral(interaction.user, channel, body.get("text", ""), stamp, blocks, thread)
        slack.ephemerals.append(ephemeral)
        interaction.shown = interaction.shown or ephemeral  # the answer to a command is what may be replaced later


def find_trigger(slack: "FakeSlack", trigger_id: str) -> Interaction | None:
    return next((known for known in slack.interactions if known.trigger_id == trigger_id), None)


def _elements(shown: Message | Ephemeral | View) -> list[Json]:
    return list(block_kit.elements_of(block_kit.named(shown.blocks or [])))


def _find(candidates: list[Json], key: str, value: Json) -> Json:
    for candidate in candidates:
        if candidate.get(key) == value:
            return candidate
    raise NotOffered(f"{value} is not among {[candidate.get(key) for candidate in candidates]}")
