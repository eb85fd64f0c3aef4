"""What somebody is to a workspace, read from what Slack tells of them."""

from typing import Any

import pytest

from bot.adapters.slack.profiles import Profile, is_abroad, profile_of
from bot.chat.callers import Kind


def told(workspace: str = "T1", **flags: Any) -> Profile:
    return profile_of({"id": "U1", "name": "ada", "team_id": "T1", **flags}, workspace)


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({}, Kind.MEMBER),
        ({"is_admin": True}, Kind.MEMBER),
        ({"is_restricted": True}, Kind.GUEST),
        ({"is_restricted": True, "is_ultra_restricted": True}, Kind.GUEST),
        ({"is_ultra_restricted": True}, Kind.GUEST),
        ({"team_id": "T2"}, Kind.EXTERNAL),
        ({"team_id": "T2", "is_restricted": True}, Kind.EXTERNAL),
        ({"is_stranger": True}, Kind.EXTERNAL),
        ({"is_bot": True}, Kind.BOT),
        ({"is_bot": True, "team_id": "T2"}, Kind.BOT),
        ({"is_workflow_bot": True}, Kind.BOT),
        ({"id": "USLACKBOT"}, Kind.BOT),
        ({"deleted": True}, Kind.UNKNOWN),
        ({"deleted": True, "is_bot": True}, Kind.UNKNOWN),
        ({"team_id": None}, Kind.UNKNOWN),
        # A person of several workspaces of an enterprise may be told with another of them.
        ({"team_id": "T2", "enterprise_user": {"enterprise_id": "E1", "teams": ["T2", "T1"]}}, Kind.MEMBER),
        ({"team_id": "T2", "enterprise_user": {"enterprise_id": "E1", "teams": ["T2"]}}, Kind.EXTERNAL),
        ({"team_id": "E1", "enterprise_user": {"enterprise_id": "E1", "teams": ["T1"]}}, Kind.MEMBER),
    ],
)
def test_the_kind_of_a_person_in_a_workspace(flags: dict[str, Any], kind: Kind) -> None:
    assert told(**flags).kind is kind


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ({"enterprise_user": {"enterprise_id": "E1", "teams": ["T1"]}}, Kind.MEMBER),
        ({"enterprise_user": {"enterprise_id": "E1"}, "is_restricted": True}, Kind.GUEST),
        ({"enterprise_user": {"enterprise_id": "E2", "teams": ["T1"]}}, Kind.EXTERNAL),
        ({"team_id": "E1"}, Kind.MEMBER),
        ({"team_id": "T9"}, Kind.EXTERNAL),
        ({"team_id": ""}, Kind.UNKNOWN),
    ],
)
def test_the_kind_of_a_person_in_an_enterprise(flags: dict[str, Any], kind: Kind) -> None:
    assert told("E1", **flags).kind is kind


@pytest.mark.parametrize("flag", ["is_owner", "is_primary_owner"])
def test_a_workspace_is_its_owners(flag: str) -> None:
    assert told(**{flag: True}).owner
    assert not told(is_admin=True).owner


@pytest.mark.parametrize("not_a_member", [{"team_id": "T2"}, {"deleted": True}, {"is_restricted": True}, {"is_bot": True}])
def test_who_owns_something_elsewhere_owns_nothing_here(not_a_member: dict[str, Any]) -> None:
    assert not told(is_owner=True, is_primary_owner=True, **not_a_member).owner


def test_the_owner_of_one_workspace_does_not_own_its_enterprise() -> None:
    enterprise = {"enterprise_id": "E1", "teams": ["T1"], "is_owner": False}
    assert not told("E1", is_owner=True, enterprise_user=enterprise).owner
    assert told("E1", enterprise_user=enterprise | {"is_owner": True}).owner
    assert not told("T1", enterprise_user=enterprise | {"is_owner": True}).owner


def test_user_groups_are_those_of_the_workspaces_somebody_is_in() -> None:
    assert told("T1").teams == ("T1",)
    assert told("E1", enterprise_user={"enterprise_id": "E1", "teams": ["T1", "T2"]}).teams == ("T1", "T2")
    assert told("E1", enterprise_user={"enterprise_id": "E2", "teams": ["T7"]}).teams == ()


@pytest.mark.parametrize(
    ("team", "workspace", "abroad"),
    [("T2", "T1", True), ("T1", "T1", False), ("", "T1", False), ("E1", "T1", False), ("T1", "E1", False)],
)
def test_an_event_tells_surely_only_of_another_workspace(team: str, workspace: str, abroad: bool) -> None:
    assert is_abroad(team, workspace) is abroad
