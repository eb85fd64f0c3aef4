"""Block Kit as far as Slack checks it, and what people read in it."""

from collections.abc import Iterator
from typing import Any

from tests.fakes.slack import refusals
from tests.fakes.slack.refusals import Refusal

Json = Any

MARKDOWN_TEXT = 12_000
PAYLOAD = 13_200
"""All text in the blocks of one message (slackapi/bolt-js#2509 measured it)."""
_ACTIONS = 25
_BUTTON_TEXT = 75
_BUTTON_VALUE = 2_000
_IDENTIFIER = 255
_FEEDBACK_ELEMENTS = 5
_CONFIRMATION = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
_MOST_TEXT = {"section": 3_000, "header": 150, "markdown": MARKDOWN_TEXT}
_KNOWN = {
    *(
        "actions",
        "alert",
        "call",
        "card",
        "carousel",
        "chart",
        "context",
        "context_actions",
        "data_table",
        "divider",
        "file",
    ),
    *("header", "image", "input", "markdown", "plan", "rich_text", "section", "table", "task_card", "video"),
}


def check(blocks: Json, *, most: int = 50, payload: int | None = PAYLOAD) -> list[Json]:
    """Refuse what Slack refuses; views have a `most` of 100 and no limit of the payload that is known."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise Refusal("invalid_blocks_format")
    if len(blocks) > most:
        raise refusals.invalid_blocks(f"no more than {most} items allowed [json-pointer:/blocks]")
    for number, block in enumerate(blocks):
        _check_block(block, f"[json-pointer:/blocks/{number}]")
    if payload is not None and sum(len(text) for block in blocks for text in texts(block)) > payload:
        raise Refusal("msg_blocks_too_long")
    return blocks


def _check_block(block: Json, where: str) -> None:
    kind = block.get("type")
    if kind not in _KNOWN:
        raise refusals.invalid_blocks(f"unsupported type: {kind} {where}")
    _limit("block_id", block.get("block_id", ""), _IDENTIFIER, where)
    if kind in _MOST_TEXT:
        text = block.get("text", "" if block.get("fields") else None)
        text = text.get("text") if isinstance(text, dict) else text
        if text is None or (text == "" and not block.get("fields")):
            raise refusals.invalid_blocks(f"missing required field: text {where}")
        _limit("text", text, _MOST_TEXT[kind], where)
    fields = block.get("fields", [])
    if len(fields) > 10:
        raise refusals.invalid_blocks(f"no more than 10 items allowed {where}")
    for field in fields:
        _limit("fields", field["text"], 2_000, where)
    if kind in ("actions", "context_actions"):
        elements = block.get("elements") or []
        if not 0 < len(elements) <= (_ACTIONS if kind == "actions" else _FEEDBACK_ELEMENTS):
            raise refusals.invalid_blocks(f"wrong number of elements {where}")
        names = [element.get("action_id") for element in elements if element.get("action_id")]
        if len(names) != len(set(names)):
            raise refusals.invalid_blocks(f"`action_id` is not unique {where}")
    for element in elements_of([block]):
        _limit("action_id", element.get("action_id", ""), _IDENTIFIER, where)
        if element.get("type") == "button":
            _limit("button text", element["text"]["text"], _BUTTON_TEXT, where)
            _limit("value", element.get("value", ""), _BUTTON_VALUE, where)
        for part, most in _CONFIRMATION.items() if "confirm" in element else ():
            _limit(f"confirm.{part}", element["confirm"][part]["text"], most, where)


def _limit(what: str, text: str, most: int, where: str) -> None:
    if len(text) > most:
        raise refusals.invalid_blocks(f"{what}: must be less than {most + 1} characters {where}")


def texts(value: Json) -> Iterator[str]:
    """List every text that people can read in a block, in order; what a button is worth is not among them."""
    if isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        if value.get("type") == "user":
            yield f"<@{value['user_id']}>"
        elif value.get("type") == "usergroup":
            yield f"<!subteam^{value['usergroup_id']}>"
        elif value.get("type") == "broadcast":
            yield f"<!{value['range']}>"
        for key in ("text", "fields", "elements", "rows", "title", "label", "hint", "accessory", "url"):
            inner = value.get(key)
            if isinstance(inner, str):
                yield inner
            elif inner is not None:
                yield from texts(inner)


def elements_of(blocks: list[Json]) -> Iterator[Json]:
    """List what can be pressed, each with the id of its block."""
    for block in blocks:
        candidates = [*(block.get("elements") or []), block.get("accessory"), block.get("element")]
        for element in candidates:
            if isinstance(element, dict) and element.get("action_id"):
                yield element | {"block_id": block.get("block_id", "")}


def named(blocks: list[Json]) -> list[Json]:
    """Give every block the id that Slack gives to those that have none."""
    return [block if block.get("block_id") else block | {"block_id": f"b{number}"} for number, block in enumerate(blocks)]


def rich_text(text: str) -> list[Json]:
    """The blocks that Slack makes of a plain text."""
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return [{"type": "rich_text", "block_id": "auto", "elements": [section]}]
