"""`views.*`: App Homes and modals."""

from typing import Any

from tests.fakes.slack import blocks as block_kit
from tests.fakes.slack import interacting, refusals
from tests.fakes.slack.api import Call, Method, Methods
from tests.fakes.slack.interacting import Interaction, View
from tests.fakes.slack.refusals import Refusal

Json = Any

_BLOCKS = 100


def publish(call: Call) -> Json:
    user = call.slack.users.get(call.required("user_id"))
    if user is None:
        raise Refusal("user_not_found")
    body = _body(call, "home")
    known = call.slack.homes.setdefault(user.id, View(call.slack.new_id("V"), user, body))
    known.body = body
    call.slack.published.append(known.json())
    return {"view": known.json()}


def open_modal(call: Call) -> Json:
    body = _body(call, "modal")
    interaction = _exchange(call)
    view = call.slack.open_view(interaction.user, body)
    interaction.views.append(view)
    return {"view": view.json()}


def update(call: Call) -> Json:
    known = next((view for view in call.slack.modals if view.id == call.text("view_id")), None)
    if known is None or not known.open:
        raise Refusal("not_found")
    known.body = _body(call, "modal")
    return {"view": known.json()}


def _body(call: Call, kind: str) -> Json:
    body = call.json("view")
    if not isinstance(body, dict) or body.get("type") != kind:
        raise refusals.invalid_arguments("view")
    if kind == "modal" and not body.get("title"):
        raise refusals.invalid_arguments("missing required field: title")
    block_kit.check(body.get("blocks"), most=_BLOCKS, payload=None)
    return body


def _exchange(call: Call) -> Interaction:
    """Use up a trigger, which works once and only for a moment."""
    slack = call.slack
    interaction = interacting.find_trigger(slack, call.required("trigger_id"))
    if interaction is None:
        raise Refusal("invalid_trigger_id")
    if interaction.triggered:
        raise Refusal("exchanged_trigger_id")
    if slack.clock.monotonic() - interaction.at > slack.trigger_life:
        raise Refusal("expired_trigger_id")
    interaction.triggered = True
    return interaction


METHODS: Methods = {
    "views.publish": Method(publish),
    "views.open": Method(open_modal),
    "views.push": Method(open_modal),
    "views.update": Method(update),
}
