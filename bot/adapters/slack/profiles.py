"""What Slack tells of somebody: what they are called, and what they are in the workspace that asks. Pure.

Installed for a whole enterprise, we take that for the workspace: its people are members, and only its owners own it.
"""

from dataclasses import dataclass
from typing import Any

from bot.adapters.slack.inbound import NOTICES_BY, readable_name
from bot.chat.callers import Kind

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`name` is "" when Slack tells none; `teams` are the workspaces whose user groups somebody may be in."""

    name: str
    kind: Kind
    owner: bool = False
    teams: tuple[str, ...] = ()


def profile_of(user: Json, workspace: str) -> Profile:
    """Read a user object, as it is told to the installation in `workspace` (a team's id, or an enterprise's)."""
    told = user.get("profile") or {}
    given = told.get("display_name") or told.get("real_name") or user.get("real_name") or user.get("name")
    enterprise = user.get("enterprise_user") or {}
    kind = _kind(user, workspace)
    # In an enterprise `is_owner` speaks of one of its workspaces, and an owner of one does not own the others.
    owned = enterprise if _is_enterprise(workspace) else user
    teams: tuple[Json, ...] = (workspace,)
    if _is_enterprise(workspace):
        teams = tuple(enterprise.get("teams") or ()) if kind is not Kind.EXTERNAL else ()
    return Profile(
        name=readable_name(str(given)) if given else "",
        kind=kind,
        owner=kind is Kind.MEMBER and bool(owned.get("is_owner") or owned.get("is_primary_owner")),
        teams=tuple(str(team) for team in teams),
    )


def is_abroad(team: str, workspace: str) -> bool:
    """Tell whether the team that an event names as somebody's is surely another organisation's than `workspace`.

    Within an enterprise events name either, so a team says something about a workspace only, and "" nothing at all.
    """
    return team.startswith("T") and not _is_enterprise(workspace) and team != workspace


def _kind(user: Json, workspace: str) -> Kind:
    if user.get("deleted"):
        return Kind.UNKNOWN
    if user.get("is_bot") or user.get("is_workflow_bot") or user.get("id") == NOTICES_BY:
        return Kind.BOT
    belongs = _belongs(user, workspace)
    if belongs is None:
        return Kind.UNKNOWN
    if user.get("is_stranger") or not belongs:
        return Kind.EXTERNAL
    return Kind.GUEST if user.get("is_restricted") or user.get("is_ultra_restricted") else Kind.MEMBER


def _belongs(user: Json, workspace: str) -> bool | None:
    """Tell whether somebody is of this workspace; None when Slack does not say where they are from."""
    enterprise = user.get("enterprise_user") or {}
    if _is_enterprise(workspace):
        home = enterprise.get("enterprise_id") or user.get("team_id")
        return None if not home else home == workspace
    teams = [user.get("team_id"), *(enterprise.get("teams") or ())]
    return workspace in teams if any(teams) else None


def _is_enterprise(workspace: str) -> bool:
    return workspace.startswith("E")
