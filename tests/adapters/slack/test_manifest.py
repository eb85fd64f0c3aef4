"""The manifest that people paste into Slack asks for exactly what the code uses: scopes, events, commands, shortcuts."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.adapters.slack.scopes import EVENTS, METHODS, SCOPES
from bot.chat.commands import TABLE, Group

ROOT = Path(__file__).parents[3]
ROOMS = [file for file in (ROOT / "bot/adapters/slack").glob("*.py") if file.name != "scopes.py"]
OTHER_EVENTS = {
    *("assistant_thread_context_changed", "assistant_thread_started", "channel_created", "channel_rename"),
    *("channel_shared", "channel_unarchive", "channel_unshared", "emoji_changed", "file_change", "file_created"),
    *("file_deleted", "file_shared", "function_executed", "group_rename", "group_unarchive", "im_created", "link_shared"),
    *("member_joined_channel", "message_metadata_posted", "pin_added", "reaction_added", "reaction_removed"),
    *("team_join", "team_rename", "user_change", "user_profile_changed", "workflow_step_execute"),
}
"""Events of Slack that are not used: a room that begins to name one has to subscribe to it."""


def parsed(lines: list[str]) -> Any:
    """Read the part of YAML that the manifest is written in: mappings, lists and plain scalars, by their indentation."""
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        return None
    indent = _indent(lines[0])
    blocks: list[list[str]] = []
    for line in lines:
        if _indent(line) == indent:
            blocks.append([line])
        else:
            blocks[-1].append(line)
    if lines[0].lstrip().startswith("- "):
        return [_item(block, indent) for block in blocks]
    found = {}
    for head, *rest in blocks:
        name, _, value = head.strip().partition(":")
        found[name] = parsed(rest) if rest else _scalar(value.strip())
    return found


def _item(block: list[str], indent: int) -> Any:
    first = " " * (indent + 2) + block[0].strip().removeprefix("- ")
    return parsed([first, *block[1:]]) if re.match(r"\w+: ", first.strip()) else _scalar(first.strip())


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _scalar(text: str) -> Any:
    return {"true": True, "false": False}.get(text, text.strip('"'))


MANIFEST = parsed((ROOT / "docs/slack-manifest.yaml").read_text().splitlines())
EVENTS_ASKED = MANIFEST["settings"]["event_subscriptions"]["bot_events"]


def nodes() -> Iterator[ast.AST]:
    for room in ROOMS:
        yield from ast.walk(ast.parse(room.read_text()))


def texts() -> set[str]:
    """Every text that the code writes down."""
    return {node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def is_method(attribute: str) -> bool:
    public = "_" in attribute and not attribute.startswith("_") and attribute != "api_call"
    return public and callable(getattr(AsyncWebClient, attribute, None))


def called() -> set[str]:
    """The Web API methods that the code calls, by the SDK's function or by Slack's name."""
    by_function = {
        node.attr.replace("_", ".") for node in nodes() if isinstance(node, ast.Attribute) and is_method(node.attr)
    }
    dotted = {text for text in texts() if re.fullmatch(r"[a-z]+(?:\.[a-zA-Z]+)+", text)}
    return by_function | {name for name in dotted if is_method(name.replace(".", "_"))}


def test_the_table_of_methods_is_what_the_code_calls() -> None:
    assert called() == METHODS.keys()


def test_the_table_of_events_is_what_the_code_names() -> None:
    names = {event.partition(".")[0] for event in EVENTS}
    assert texts() & (names | OTHER_EVENTS) == names


def test_the_manifest_asks_for_the_scopes_that_are_needed_and_no_more() -> None:
    scopes = MANIFEST["oauth_config"]["scopes"]
    assert scopes == {"bot": sorted(SCOPES)}


def test_the_manifest_subscribes_to_the_events_that_are_heard() -> None:
    assert sorted(EVENTS) == EVENTS_ASKED


def test_the_manifest_offers_the_commands_of_the_table() -> None:
    offered = {command["command"]: command for command in MANIFEST["features"]["slash_commands"]}
    assert offered.keys() == {f"/{group.value}" for group in Group}
    for group in Group:
        hint = re.findall(r"\w+", offered[f"/{group.value}"]["usage_hint"])
        assert [word for word in hint if word != "or"] == [row.name for row in TABLE.values() if row.group is group]
    # Whom somebody names is to reach us by their id: names are anybody's.
    assert {command["should_escape"] for command in offered.values()} == {True}


def test_the_manifest_offers_the_shortcuts_that_are_heard() -> None:
    shortcuts = MANIFEST["features"]["shortcuts"]
    assert [(shortcut["type"], shortcut["callback_id"]) for shortcut in shortcuts] == [("message", "parley_summarise")]
    assert {text for text in texts() if re.fullmatch(r"parley_\w+", text)} >= {"parley_summarise"}


def test_the_manifest_switches_on_what_the_adapter_lives_on() -> None:
    settings, features = MANIFEST["settings"], MANIFEST["features"]
    assert settings["socket_mode_enabled"]
    assert settings["interactivity"] == {"is_enabled": True}
    assert settings["org_deploy_enabled"]
    assert not settings["token_rotation_enabled"]  # tokens that expire are not renewed
    assert features["app_home"] == {
        "home_tab_enabled": True,
        "messages_tab_enabled": True,
        "messages_tab_read_only_enabled": False,
    }
    assert "agent_view" in features


def test_the_manifest_keeps_slacks_limits() -> None:
    assert len(MANIFEST["display_information"]["name"]) <= 35
    assert len(MANIFEST["display_information"]["description"]) <= 140
    assert len(MANIFEST["features"]["agent_view"]["agent_description"]) <= 300
    assert all(len(shortcut["name"]) <= 24 for shortcut in MANIFEST["features"]["shortcuts"])
