"""Laws of workspaces: the right to work in one is kept, and all of one that is gone is erased, and nothing else."""

import asyncio
from dataclasses import replace

import pytest

from store import (
    Attachment,
    ConversationNotFound,
    Feedback,
    Installation,
    LeaseLost,
    Setting,
    Store,
    TurnState,
    UnstorableText,
    Watermark,
)
from tests.contracts.store_words import (
    AT,
    LEASE,
    MINUTE,
    answer,
    message,
    named,
    nothing_to_do,
    read,
    reply,
    room,
    say,
    take,
)

NOW = AT + 1000 * MINUTE
BOT = Installation(platform="slack", workspace="T1", data=b"\0sealed\xff", at=AT)
ANN = replace(BOT, user="U1", data=b"Ann's", at=AT + MINUTE)
OTHERS = [
    replace(BOT, workspace="T2", at=AT + 2 * MINUTE),
    replace(BOT, platform="teams", at=AT + 3 * MINUTE),
    replace(BOT, workspace="T10", at=AT + 4 * MINUTE),
]


class InstallationLaws:
    """One for each workspace and user, as it was given."""

    async def test_installations_come_back_the_newest_first(self, store: Store) -> None:
        for installation in (ANN, BOT, *OTHERS):
            await store.put_installation(installation)
        assert await store.installations("slack") == (OTHERS[2], OTHERS[0], ANN, BOT)
        assert await store.installations("slack", "T1") == (ANN, BOT)
        assert await store.installations("slack", "T3") == ()
        assert await store.installations("discord") == ()

    async def test_a_later_one_of_the_same_user_replaces_it(self, store: Store) -> None:
        await store.put_installation(BOT)
        await store.put_installation(ANN)
        newer = replace(BOT, data=b"newer", at=NOW)
        await store.put_installation(newer)
        assert await store.installations("slack") == (newer, ANN)

    async def test_removing_one_touches_no_other(self, store: Store) -> None:
        for installation in (BOT, ANN, *OTHERS):
            await store.put_installation(installation)
        assert await store.remove_installation("slack", "T1", "")
        assert not await store.remove_installation("slack", "T1", "")
        assert await store.installations("slack", "T1") == (ANN,)
        assert len(await store.installations("slack")) == 3

    async def test_what_can_not_be_kept_is_refused(self, store: Store) -> None:
        for part in ("platform", "workspace", "user"):
            for bad in ("nul \0", "half \udc00"):
                with pytest.raises(UnstorableText):
                    await store.put_installation(replace(BOT, **{part: bad}))
        with pytest.raises(ValueError, match="workspace"):
            await store.put_installation(replace(BOT, workspace=""))
        assert await store.installations("slack") == ()


OURS = [room("C1"), room("C1", user="U-Ann"), room("C1", thread="t1"), room("D1")]
THEIRS = [
    room("C1", workspace="T10"),
    room("C1", workspace="T2"),
    room("C1", platform="discord"),
    room("D1", workspace=""),
]


async def furnish(store: Store) -> dict[str, int]:
    """Let there be something of every kind in two workspaces and in some that are neither; return the conversations."""
    ids = {}
    for key in (*OURS, *THEIRS):
        file = Attachment(number=0, name="a", media_type="text/plain", size=1, url="", data=b"x")
        given = message("hello", key=key, message_id=f"M {key.channel}{key.thread}{key.user}", attachments=(file,))
        conversation_id = await store.accept(given)
        assert conversation_id is not None
        claim = await answer(store, post="P")
        await store.put_feedback(claim.turn.id, "U1", Feedback.GOOD, at=AT)
        ids[f"{key.platform}/{key.workspace}/{key.channel}/{key.thread}/{key.user}"] = conversation_id
        mark = Watermark(workspace=key.workspace, channel=key.channel, thread=key.thread, position=7)
        await store.mark(key.platform, [mark], at=AT)
        setting = Setting(platform=key.platform, workspace=key.workspace, channel=key.channel, name="scope", value="channel")
        await store.put_setting(setting, author_id="U-Ann", at=AT)
        await store.remember(f"{key.platform}/{key.workspace}/team", "a note")
    for installation in (BOT, ANN, *OTHERS):
        await store.put_installation(installation)
    return ids


class PurgeWorkspaceLaws:
    """All of a workspace, and nothing else."""

    async def test_all_that_belongs_to_the_workspace_is_erased_and_nothing_else(self, store: Store) -> None:
        ids = await furnish(store)
        assert await store.purge_workspace("slack", "T1") == len(OURS)
        for key, conversation_id in zip((*OURS, *THEIRS), ids.values(), strict=True):
            if key in OURS:
                assert await store.find(key) is None
                with pytest.raises(ConversationNotFound):
                    await store.recent(conversation_id, 1)
            else:
                assert await read(store, conversation_id) == ["hello", "hi"]
                located = await store.locate(named("M " + key.channel, key=key))
                assert located is not None
                facts = await store.facts(located.turn_id or 0)
                assert facts is not None
                assert facts.feedback == {"U1": Feedback.GOOD}
        assert {mark.workspace for mark in await store.watermarks("slack")} == {"T10", "T2", ""}
        assert {setting.workspace for setting in await store.settings("slack")} == {"T10", "T2", ""}
        assert await store.settings("discord") != ()
        assert await store.installations("slack") == (OTHERS[2], OTHERS[0])
        assert await store.installations("teams") == (OTHERS[1],)
        notes = [
            await store.recall(f"{name}/team") for name in ("slack/T1", "slack/T10", "slack/T2", "discord/T1", "slack/")
        ]
        assert notes == ["", "a note", "a note", "a note", "a note"]
        assert await store.conversations_of("slack", "T1", "U-Ann", limit=9) == ()

    async def test_it_may_be_repeated_and_what_is_not_there_is_no_error(self, store: Store) -> None:
        await furnish(store)
        assert await store.purge_workspace("slack", "T1") == len(OURS)
        assert await store.purge_workspace("slack", "T1") == 0
        assert await store.purge_workspace("slack", "never seen") == 0

    async def test_ended_and_expired_conversations_go_too(self, store: Store) -> None:
        for key in OURS[:2]:
            ended = await say(store, "hello", key=key)
            await answer(store)
            await store.end(ended, at=AT)
        await store.expire(before=NOW, at=NOW, limit=1)
        assert await store.purge_workspace("slack", "T1") == 2
        assert await store.purge(before=NOW + MINUTE, limit=9) == 0

    async def test_what_is_queued_is_not_answered_and_what_runs_loses_its_lease(self, store: Store) -> None:
        await say(store, "running", key=OURS[0])
        running = await take(store)
        await say(store, "delivering", key=OURS[1])
        delivering = await take(store)
        await store.finish(delivering.hold, reply("hi"))
        await say(store, "queued", "too", key=OURS[2])
        theirs = await say(store, "hello", key=THEIRS[0])
        assert await store.purge_workspace("slack", "T1") == 3
        for hold in (running.hold, delivering.hold):
            with pytest.raises(LeaseLost):
                await store.renew(hold, lease=LEASE)
        with pytest.raises(LeaseLost):
            await store.finish(running.hold, reply("hi"))
        with pytest.raises(LeaseLost):
            await store.settle(delivering.hold, TurnState.DONE)
        claim = await take(store)
        assert claim.hold.conversation_id == theirs
        await store.settle(claim.hold, TurnState.DONE)
        assert await nothing_to_do(store)

    async def test_a_redelivery_brings_nothing_back(self, store: Store) -> None:
        event = message("hello")
        await store.accept(event)
        await store.purge_workspace("slack", "T1")
        assert await store.accept(event) is None
        assert await store.find(event.key) is None

    async def test_who_comes_back_begins_anew(self, store: Store) -> None:
        await say(store, "old")
        await store.purge_workspace("slack", "T1")
        new = await say(store, "new")
        await answer(store)
        assert await read(store, new) == ["new", "hi"]
        assert len(await store.conversations_of("slack", "T1", "U-Ann", limit=9)) == 1

    @pytest.mark.parametrize("steps", range(0, 40, 4))
    async def test_one_that_is_cancelled_is_completed_by_the_next(self, store: Store, steps: int) -> None:
        ids = await furnish(store)
        purging = asyncio.create_task(store.purge_workspace("slack", "T1"))
        for _ in range(steps):
            await asyncio.sleep(0)
        purging.cancel()
        await asyncio.gather(purging, return_exceptions=True)
        await store.purge_workspace("slack", "T1")
        for conversation_id in list(ids.values())[: len(OURS)]:
            with pytest.raises(ConversationNotFound):
                await store.recent(conversation_id, 1)
        assert await store.installations("slack", "T1") == ()
        assert await read(store, list(ids.values())[-1]) == ["hello", "hi"]

    async def test_no_workspace_is_refused(self, store: Store) -> None:
        direct = await say(store, "hello", key=THEIRS[3])
        with pytest.raises(ValueError, match="workspace"):
            await store.purge_workspace("slack", "")
        assert await read(store, direct) == ["hello"]
