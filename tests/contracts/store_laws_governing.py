"""Laws of governing: what operators decide holds at once and is written down, what is paused waits, what is full too."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from store import (
    AUDIT_PAGE,
    ON,
    PAUSED,
    WORKSPACE_RUNNING,
    AuditEntry,
    Claim,
    ConversationKey,
    Setting,
    Store,
    TurnState,
    UnstorableText,
)
from tests.contracts.store_words import (
    AT,
    LEASE,
    MINUTE,
    OVER,
    PLATFORMS,
    ROOM,
    answer,
    message,
    nothing_to_do,
    reply,
    room,
    say,
    take,
)

GUEST = Setting(platform="slack", workspace="T1", subject="user:U1", name="access", value="deny")
DIRECT = ConversationKey(platform="discord", workspace="", channel="D1")


async def put(store: Store, setting: Setting, *, action: str = "") -> str:
    return await store.put_setting(setting, author_id="U-Op", action=action, at=AT)


async def pause(store: Store, platform: str = "", workspace: str = "", channel: str = "", value: str = ON) -> None:
    await put(store, Setting(platform=platform, workspace=workspace, channel=channel, name=PAUSED, value=value))


async def allow_running(store: Store, number: str, workspace: str = "T1") -> None:
    await put(store, Setting(platform="slack", workspace=workspace, name=WORKSPACE_RUNNING, value=number))


async def begin(store: Store, *, lease: timedelta = LEASE, most: int | None = None) -> Claim | None:
    """Claim a turn of a workspace in which no more than `most` are carried out at once."""
    return await store.claim(lease=lease, window=1, platforms=PLATFORMS, per_workspace=most)


def entry(action: str, *, platform: str = "slack", workspace: str = "T1", minute: int = 0) -> AuditEntry:
    return AuditEntry(
        platform=platform,
        workspace=workspace,
        channel="C1",
        author_id="U-Op",
        action=action,
        target="user:U1",
        before="a",
        after="b",
        allowed=False,
        at=AT + minute * MINUTE,
    )


class GoverningLaws:
    """Settings with a subject, their versions, and the log of who did what."""

    async def test_settings_of_one_place_are_told_apart_by_their_subjects(self, store: Store) -> None:
        chosen = [GUEST, replace(GUEST, subject="user:U2"), replace(GUEST, channel="C1", subject="", value="allow")]
        for setting in chosen:
            assert await put(store, setting) == ""
        assert set(await store.settings("slack")) == set(chosen)
        assert await put(store, replace(GUEST, value="")) == "deny"
        assert set(await store.settings("slack")) == set(chosen[1:])

    async def test_what_holds_for_everything_is_told_with_every_platform(self, store: Store) -> None:
        everywhere = Setting(name="paused", value="on")
        await put(store, everywhere)
        await put(store, GUEST)
        assert await store.settings("slack") == (everywhere, GUEST)
        assert await store.settings("discord") == (everywhere,)

    async def test_who_changes_a_setting_is_told_the_value_before(self, store: Store) -> None:
        values = [await put(store, replace(GUEST, value=value)) for value in ("deny", "allow", "allow", "", "")]
        assert values == ["", "deny", "allow", "allow", ""]

    async def test_each_change_is_in_the_audit_log_and_what_changes_nothing_is_not(self, store: Store) -> None:
        for value in ("deny", "deny", "allow", "", ""):
            await put(store, replace(GUEST, value=value))
        log = await store.audit_log("slack", "T1", limit=9)
        assert [(one.before, one.after) for one in log] == [("allow", ""), ("deny", "allow"), ("", "deny")]
        assert {(one.author_id, one.action, one.target, one.allowed, one.at) for one in log} == {
            ("U-Op", "access", "user:U1 access", True, AT)
        }
        assert [one.id for one in log] == sorted({one.id for one in log}, reverse=True)

    async def test_a_change_is_noted_as_the_action_that_made_it(self, store: Store) -> None:
        await put(store, Setting(platform="slack", workspace="T1", channel="C1", name=PAUSED, value=ON), action="pause")
        (log,) = await store.audit_log("slack", "T1", limit=9)
        assert (log.action, log.channel, log.target, log.before, log.after) == ("pause", "C1", PAUSED, "", ON)

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_what_can_not_be_stored_changes_nothing_and_is_not_noted(self, store: Store, bad: str) -> None:
        for part in ("platform", "workspace", "channel", "subject", "name", "value"):
            with pytest.raises(UnstorableText):
                await put(store, replace(GUEST, **{part: bad}))
        with pytest.raises(UnstorableText):
            await store.put_setting(GUEST, author_id=bad, at=AT)
        for part in ("platform", "workspace", "channel", "author_id", "action", "target", "before", "after"):
            with pytest.raises(UnstorableText):
                await store.audit(replace(entry("x"), **{part: bad}))
        assert await store.settings("slack") == ()
        assert await store.audit_log("slack", "T1", limit=9, everything=True) == ()
        assert await store.settings_version() == 0

    async def test_the_version_is_another_one_after_each_change_and_only_then(self, store: Store) -> None:
        versions = []
        for value in ("deny", "allow", ""):
            await put(store, replace(GUEST, value=value))
            versions.append(await store.settings_version())
            await put(store, replace(GUEST, value=value))
            await store.audit(entry("status"))
            assert await store.settings_version() == versions[-1]
        assert len(set(versions)) == 3

    async def test_the_version_never_comes_back_though_settings_and_entries_go(self, store: Store) -> None:
        versions = [await store.settings_version()]
        await put(store, GUEST)
        versions.append(await store.settings_version())
        assert await store.forget_audit(before=AT + MINUTE, limit=9) == 1
        assert await store.settings_version() == versions[-1]
        await store.purge_workspace("slack", "T1")
        versions.append(await store.settings_version())
        await put(store, GUEST)
        versions.append(await store.settings_version())
        assert len(set(versions)) == 4

    async def test_settings_of_two_workspaces_with_the_same_ids_are_two(self, store: Store) -> None:
        other = replace(GUEST, workspace="T2", value="allow")
        abroad = replace(GUEST, platform="discord", value="allow")
        for setting in (GUEST, other, abroad):
            await put(store, setting)
        await put(store, replace(GUEST, value=""))
        assert await store.settings("slack") == (other,)
        assert await store.settings("discord") == (abroad,)
        assert len(await store.audit_log("slack", "T1", limit=9)) == 2
        assert len(await store.audit_log("slack", "T2", limit=9)) == 1
        await store.purge_workspace("slack", "T1")
        assert await store.audit_log("slack", "T1", limit=9) == ()
        assert len(await store.audit_log("slack", "T2", limit=9)) == 1
        assert len(await store.audit_log("discord", "T1", limit=9)) == 1

    async def test_entries_come_back_whole_the_newest_first_and_by_pages(self, store: Store) -> None:
        for n in range(7):
            await store.audit(entry(f"act {n}", minute=n))
            await store.audit(entry("theirs", workspace="T2"))
        pages, before = [], None
        while page := await store.audit_log("slack", "T1", limit=3, before=before):
            pages.append([one.action for one in page])
            assert page[0] == replace(entry(page[0].action, minute=int(page[0].action[-1])), id=page[0].id)
            before = page[-1].id
        assert pages == [["act 6", "act 5", "act 4"], ["act 3", "act 2", "act 1"], ["act 0"]]

    async def test_entries_of_no_workspace_are_listed_only_with_everything(self, store: Store) -> None:
        for n in range(4):
            await store.audit(entry(f"all {n}", platform="", workspace=""))
            await store.audit(entry(f"ours {n}"))
            await store.audit(entry("direct", workspace=""))
        assert [one.action for one in await store.audit_log("slack", "T1", limit=2)] == ["ours 3", "ours 2"]
        log = await store.audit_log("slack", "T1", limit=5, everything=True)
        assert [one.action for one in log] == ["ours 3", "all 3", "ours 2", "all 2", "ours 1"]
        rest = await store.audit_log("slack", "T1", limit=9, everything=True, before=log[-1].id)
        assert [one.action for one in rest] == ["all 1", "ours 0", "all 0"]

    @pytest.mark.parametrize("limit", [0, -1, AUDIT_PAGE + 1])
    async def test_a_page_of_the_log_has_its_size(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match="entries"):
            await store.audit_log("slack", "T1", limit=limit)

    async def test_old_entries_are_forgotten_in_portions(self, store: Store) -> None:
        for n in range(5):
            await store.audit(entry(f"act {n}", minute=n))
        gone = [await store.forget_audit(before=AT + 3 * MINUTE, limit=2) for _ in range(3)]
        assert gone == [2, 1, 0]
        assert [one.action for one in await store.audit_log("slack", "T1", limit=9)] == ["act 4", "act 3"]


class PauseLaws:
    """Where it is paused, all is taken in and nothing is carried out."""

    @pytest.mark.parametrize(
        ("place", "paused"),
        [
            (("slack", "T1", "C1"), {"C1", "thread"}),
            (("slack", "T1"), {"C1", "thread", "C2"}),
            (("discord", ""), {"direct"}),
            ((), {"C1", "thread", "C2", "T2", "guild", "direct"}),
        ],
    )
    async def test_nothing_of_a_paused_place_is_claimed_until_it_goes_on(
        self, store: Store, place: tuple[str, ...], paused: set[str]
    ) -> None:
        rooms = {
            "C1": ROOM,
            "thread": room("C1", thread="1"),
            "C2": room("C2"),
            "T2": room("C1", workspace="T2"),
            "guild": room("C1", platform="discord"),
            "direct": DIRECT,
        }
        for key in rooms.values():
            await say(store, "hello", key=key)
        await pause(store, *place)
        claimed = set()
        while claim := await begin(store):
            claimed.add(next(name for name, key in rooms.items() if key == claim.key))
            await store.settle(claim.hold, TurnState.DONE)
        assert claimed == rooms.keys() - paused
        for name, key in rooms.items():
            accepted = await store.accept_and_claim(message("more", key=key), lease=LEASE, window=9)
            assert accepted is not None
            assert (accepted.claim is None) == (name in paused), "it is kept, and waits"
        await pause(store, *place, value="")
        resumed = set()
        while claim := await begin(store):
            resumed.add(next(name for name, key in rooms.items() if key == claim.key))
            await store.settle(claim.hold, TurnState.DONE)
        assert resumed == paused

    async def test_a_turn_of_a_paused_place_is_not_taken_over_either(self, store: Store) -> None:
        await say(store, "hello")
        await take(store, lease=OVER)
        await pause(store, "slack", "T1", "C1")
        assert await nothing_to_do(store)
        await pause(store, "slack", "T1", "C1", value="")
        assert (await take(store)).recovered

    async def test_who_carries_out_a_turn_may_bring_it_to_its_end(self, store: Store) -> None:
        await say(store, "hello")
        claim = await take(store)
        await pause(store)
        await store.renew(claim.hold, lease=LEASE)
        assert await store.finish(claim.hold, reply("hi"))
        await store.settle(claim.hold, TurnState.DONE)

    async def test_only_the_place_itself_is_paused_and_only_by_on(self, store: Store) -> None:
        await put(store, Setting(platform="slack", workspace="T1", subject="user:U1", name=PAUSED, value=ON))
        await put(store, Setting(platform="slack", workspace="T1", name=PAUSED, value="off"))
        await put(store, Setting(platform="discord", workspace="T1", name=PAUSED, value=ON))
        await pause(store, "slack", "T2")
        await pause(store, "slack", "T1", "C2")
        await say(store, "hello")
        assert (await take(store)).key == ROOM


class RunningLaws:
    """Of one workspace, so many turns are carried out at once, on all replicas."""

    async def test_no_turn_is_begun_in_a_workspace_that_is_full(self, store: Store) -> None:
        for n in range(4):
            await say(store, "hello", key=room(f"C{n}"))
        await say(store, "hello", key=room("C1", workspace="T2"))
        first = await begin(store, most=2)
        second = await begin(store, most=2)
        third = await begin(store, most=2)
        assert first is not None
        assert second is not None
        assert third is not None
        assert [claim.key.workspace for claim in (first, second, third)] == ["T1", "T1", "T2"]
        assert await begin(store, most=2) is None
        accepted = await store.accept_and_claim(message(key=room("C9")), lease=LEASE, window=1, per_workspace=2)
        assert accepted is not None
        assert accepted.claim is None
        await store.settle(first.hold, TurnState.DONE)
        fourth = await begin(store, most=2)
        assert fourth is not None
        assert fourth.key == room("C2")
        assert await begin(store) is not None, "who names no limit is kept by none"

    async def test_the_workspaces_own_number_goes_before_the_general_one(self, store: Store) -> None:
        await allow_running(store, "3")
        await allow_running(store, "1", workspace="T2")
        for n in range(9):
            await say(store, "hello", key=room(f"C{n}", workspace=f"T{n % 2 + 1}"))
        claimed = []
        while claim := await begin(store, most=2):
            claimed.append(claim.key.workspace)
        assert claimed == ["T1", "T2", "T1", "T1"]
        await allow_running(store, "", workspace="T2")
        claim = await begin(store, most=2)
        assert claim is not None
        assert claim.key.workspace == "T2"

    async def test_a_message_is_heard_at_once_while_there_is_room(self, store: Store) -> None:
        await allow_running(store, "2")
        begun = []
        for n in range(4):
            accepted = await store.accept_and_claim(message(key=room(f"C{n}")), lease=LEASE, window=1, per_workspace=9)
            assert accepted is not None
            begun.append(accepted.claim is not None)
        assert begun == [True, True, False, False]

    async def test_one_that_was_begun_before_is_taken_over_at_once(self, store: Store) -> None:
        await say(store, "hello", key=room("C1"))
        await say(store, "hello", key=room("C2"))
        lost = await begin(store, lease=OVER, most=1)
        assert lost is not None
        await store.settle((await take(store)).hold, TurnState.DONE)  # somebody took it over meanwhile, and is done
        lost = await begin(store, lease=OVER, most=1)
        await say(store, "hello", key=room("C3"))
        running = await store.accept_and_claim(message(key=room("C4")), lease=LEASE, window=1)
        assert lost is not None
        assert running is not None
        assert running.claim is not None
        again = await begin(store, most=1)
        assert again is not None
        assert (again.key, again.recovered) == (lost.key, True)
        assert await begin(store, most=1) is None

    async def test_a_lease_that_ran_out_makes_room(self, store: Store) -> None:
        for n in range(3):
            await say(store, "hello", key=room(f"C{n}"))
        await pause(store, "slack", "T1", "C0")
        await begin(store, lease=OVER, most=1)
        await pause(store, "slack", "T1", "C1")
        assert (await begin(store, most=1)) is not None

    async def test_however_many_claim_at_once_no_more_are_begun(self, store: Store) -> None:
        for n in range(20):
            await say(store, "hello", key=room(f"C{n}"))
        claims = await asyncio.gather(*(begin(store, most=7) for _ in range(20)))
        assert sum(claim is not None for claim in claims) == 7

    async def test_what_is_carried_out_just_now_is_counted(self, store: Store) -> None:
        assert await store.running_in("slack", ["T1"]) == 0
        for key in (ROOM, room("C2"), room("C1", workspace="T2"), room("C1", platform="discord"), DIRECT, room("C3")):
            await say(store, "hello", key=key)
        claims = [await take(store) for _ in range(5)]
        await store.finish(claims[1].hold, reply("hi"))
        assert await store.running_in("slack", ["T1"]) == 2
        assert await store.running_in("slack", ["T1", "T2", "T3"]) == 3
        assert await store.running_in("discord", ["", "T1"]) == 2
        assert await store.running_in("slack", []) == 0
        await store.settle(claims[0].hold, TurnState.DONE)
        await store.release(claims[1].hold)
        assert await store.running_in("slack", ["T1"]) == 0
        await answer(store)
        assert await store.running_in("slack", ["T1"]) == 0
