"""Installations are kept per workspace and user, with their tokens sealed, in the way that slack_sdk's port asks for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from slack_sdk.oauth.installation_store import Installation

from bot.adapters.slack.installations import ParleyInstallationStore
from bot.adapters.slack.sealing import Seal, Unreadable, key_from
from store import Store, open_store

pytestmark = pytest.mark.anyio

ACME: dict[str, Any] = {"enterprise_id": None, "team_id": "T1"}
GRID: dict[str, Any] = {"enterprise_id": "E1", "team_id": None}


def installation(
    user: str = "U1",
    *,
    team: str | None = "T1",
    token: str | None = "xoxb-1",  # noqa: S107 - made up
    at: float = 1.5,
) -> Installation:
    return Installation(
        app_id="A1",
        enterprise_id=None if team == "T1" else "E1",
        team_id=team,
        team_name="Acme",
        bot_token=token,
        bot_id="B1" if token else None,
        bot_user_id="UB1" if token else None,
        bot_scopes="chat:write,commands" if token else "",
        user_id=user,
        user_token=f"xoxp-{user}",
        user_scopes=["search:read"],
        incoming_webhook_url="https://hooks.example.com/wombat",
        is_enterprise_install=team is None,
        installed_at=at,
        custom_values={"plan": "free"},
    )


@asynccontextmanager
async def opened(url: str = "sqlite:///:memory:") -> AsyncIterator[tuple[Store, ParleyInstallationStore]]:
    store = await open_store(url)
    try:
        yield store, ParleyInstallationStore(store, "client-secret")
    finally:
        await store.aclose()


async def test_an_installation_comes_back_as_it_was_saved() -> None:
    async with opened() as (_, installations):
        saved = installation()
        await installations.async_save(saved)
        found = await installations.async_find_installation(**ACME)
        assert found is not None
        assert found.to_dict_for_copying() == saved.to_dict_for_copying()
        bot = await installations.async_find_bot(**ACME)
        assert bot is not None
        assert bot.to_dict_for_copying() == saved.to_bot().to_dict_for_copying()
        assert await installations.token_of("T1") == "xoxb-1"


async def test_the_newest_installation_counts_and_each_user_has_their_own() -> None:
    async with opened() as (_, installations):
        await installations.async_save(installation("U1", token="xoxb-old", at=1.0))
        await installations.async_save(installation("U2", token="xoxb-new", at=2.0))
        newest = await installations.async_find_installation(**ACME)
        first = await installations.async_find_installation(**ACME, user_id="U1")
        assert newest is not None
        assert first is not None
        assert (newest.user_id, newest.user_token) == ("U2", "xoxp-U2")
        assert (first.user_id, first.user_token) == ("U1", "xoxp-U1")
        assert {newest.bot_token, first.bot_token, await installations.token_of("T1")} == {"xoxb-new"}
        assert await installations.async_find_installation(**ACME, user_id="U3") is None


async def test_a_user_who_allows_nothing_to_the_bot_leaves_its_token_as_it_was() -> None:
    async with opened() as (_, installations):
        await installations.async_save(installation("U1"))
        await installations.async_save(installation("U2", token=None, at=2.0))
        found = await installations.async_find_installation(**ACME, user_id="U2")
        assert found is not None
        assert (found.user_token, found.bot_token) == ("xoxp-U2", "xoxb-1")


async def test_an_installation_of_a_whole_enterprise_is_its_own() -> None:
    async with opened() as (_, installations):
        await installations.async_save(installation(team="T2", token="xoxb-team"))
        assert await installations.token_of("E1") is None
        await installations.async_save(installation(team=None, token="xoxb-org"))
        assert (await installations.token_of("E1"), await installations.token_of("T2")) == ("xoxb-org", "xoxb-team")
        for named in (GRID, {"enterprise_id": "E1", "team_id": "T2", "is_enterprise_install": True}):
            bot = await installations.async_find_bot(**named)
            found = await installations.async_find_installation(**named)
            assert bot is not None
            assert found is not None
            assert (bot.bot_token, found.bot_token, found.is_enterprise_install) == ("xoxb-org", "xoxb-org", True)


@pytest.mark.parametrize(
    ("delete", "token", "users"),
    [
        (lambda it: it.async_delete_bot(**ACME), None, {"U1", "U2"}),
        (lambda it: it.async_delete_installation(**ACME, user_id="U1"), "xoxb-1", {"U2"}),
        (lambda it: it.async_delete_installation(**ACME), "xoxb-1", set()),
        (lambda it: it.async_delete_all(**ACME), None, set()),
    ],
    ids=["the bot", "one user", "all users", "all"],
)
async def test_what_is_deleted_is_gone_and_nothing_else(delete: Any, token: str | None, users: set[str]) -> None:
    async with opened() as (_, installations):
        for saved in (installation("U1"), installation("U2"), installation("U1", team="T2"), installation("U1", team=None)):
            await installations.async_save(saved)
        for _ in range(2):
            await delete(installations)
        assert await installations.token_of("T1") == token
        left = [user for user in ("U1", "U2") if await installations.async_find_installation(**ACME, user_id=user)]
        assert set(left) == users
        assert await installations.token_of("T2") is not None
        assert await installations.token_of("E1") is not None


async def test_no_token_can_be_read_in_the_file(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/parley.db") as (_, installations):
        await installations.async_save(installation(token="xoxb-wombat"))
        written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert b"T1" in written
        assert not [secret for secret in (b"wombat", b"xoxb-", b"xoxp-", b"Acme") if secret in written]
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"wombat" not in written
    async with opened(f"sqlite:///{tmp_path}/parley.db") as (_, installations):
        assert await installations.token_of("T1") == "xoxb-wombat"


async def test_with_another_client_secret_nothing_is_installed_and_that_is_said_once() -> None:
    async with opened() as (store, installations):
        await installations.async_save(installation())
        changed = ParleyInstallationStore(store, "another-secret")
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert await changed.token_of("T1") is None
                assert await changed.async_find_bot(**ACME) is None
                assert await changed.async_find_installation(**ACME) is None
        (said,) = logs
        assert (said["event"], said["workspace"]) == ("slack.installation_unreadable", "T1")
        assert "install it again" in said["remedy"]
        await changed.async_save(installation(token="xoxb-2"))
        assert await changed.token_of("T1") == "xoxb-2"


async def test_a_row_that_was_moved_to_another_workspace_is_not_read() -> None:
    async with opened() as (store, installations):
        await installations.async_save(installation())
        for kept in await store.installations("slack", "T1"):
            await store.put_installation(replace(kept, workspace="T9"))
        assert await installations.token_of("T9") is None


async def test_whoever_holds_a_token_is_told_when_it_is_another_one() -> None:
    async with opened() as (store, _):
        told: list[str] = []
        installations = ParleyInstallationStore(store, "client-secret", changed=told.append)
        await installations.async_save(installation())
        await installations.async_save(installation(team=None))
        await installations.async_delete_installation(**ACME)
        assert told == ["T1", "E1"]
        await installations.async_delete_all(**ACME)
        assert told == ["T1", "E1", "T1"]


async def test_nothing_named_is_nothing_found() -> None:
    async with opened() as (_, installations):
        await installations.async_save(installation())
        nowhere: dict[str, Any] = {"enterprise_id": None, "team_id": None}
        assert await installations.async_find_bot(**nowhere) is None
        assert await installations.token_of("") is None
        await installations.async_delete_all(**nowhere)
        assert await installations.token_of("T1") == "xoxb-1"


def test_what_is_sealed_is_opened_by_the_same_secret_for_the_same_place_and_purpose() -> None:
    seal = Seal(key_from("secret", "a"))
    sealed = seal.close(b"plain", "here")
    assert seal.open(sealed, "here") == b"plain"
    assert seal.close(b"plain", "here") != sealed
    others = [(Seal(key_from("other", "a")), "here"), (Seal(key_from("secret", "b")), "here"), (seal, "there")]
    for other, place in others:
        with pytest.raises(Unreadable):
            other.open(sealed, place)


@pytest.mark.parametrize(
    "damaged", [lambda s: b"", lambda s: s[:5], lambda s: s[:-1], lambda s: b"\x02" + s[1:], lambda s: s + b"x"]
)
def test_what_was_changed_is_not_opened(damaged: Any) -> None:
    seal = Seal(key_from("secret", "a"))
    with pytest.raises(Unreadable):
        seal.open(damaged(seal.close(b"plain", "here")), "here")
