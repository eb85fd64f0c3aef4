"""Laws of a sealed store: its key is needed to open it, a key may come and be changed, and a kill on the way costs nothing.

A subclass provides the fixture `place`: where there is no store yet.
"""

import signal
from collections.abc import Sequence
from typing import Protocol

import pytest

from store import KeyRefused, open_store
from tests.store.canaries import NEW, OLD, ROOM_KEY, SAID, WRONG, everything, fill, talk_of_the_canary
from tests.store.other_process import python


class Place(Protocol):
    """Where a store is, and what can be seen of it without its key."""

    @property
    def address(self) -> str:
        """Where `open_store` finds it."""
        ...

    @property
    def name(self) -> str:
        """What a refusal calls it, among other words."""
        ...

    def contents(self) -> object:
        """All that is kept there."""
        ...

    def readable(self) -> list[str]:
        """The files in which the canary can be read."""
        ...

    def seals(self) -> list[int]:
        """The numbers of the keys that open it."""
        ...


async def refused(place: Place, keys: Sequence[bytes], words: str) -> None:
    """Try to open it; it is told why not, nothing is changed, and no key is quoted."""
    before = place.contents()
    with pytest.raises(KeyRefused, match=words) as told:
        await open_store(place.address, keys=keys)
    assert place.name in str(told.value)
    assert not any(key.hex() in str(told.value) for key in keys)
    assert place.contents() == before


async def dies_while_sealing(place: Place, keys: Sequence[bytes], *, batch: int) -> None:
    """Let a process seal it anew that is killed after so many batches."""
    with python(DIES_WHILE_SEALING, place.address, ",".join(key.hex() for key in keys), batch) as (process, _):
        assert process.wait(30) == -signal.SIGKILL


class KeyLaws:
    """Whoever lacks a key is refused before anything is changed."""

    async def test_no_key_or_a_wrong_one_is_refused(self, place: Place) -> None:
        await fill(place.address, [OLD])
        await refused(place, [], "set ENCRYPTION_KEY")
        await refused(place, [WRONG], "ENCRYPTION_KEY=new,old")
        await refused(place, [WRONG, NEW], "ENCRYPTION_KEY=new,old")
        assert await everything(place.address, [OLD]) == SAID


class TurningOnLaws:
    """A store that had no key is sealed before it is served, and what stood there in plain is gone."""

    async def test_what_was_plain_is_sealed_and_gone_from_the_files(self, place: Place) -> None:
        await fill(place.address, [])
        assert place.readable() != []
        steps: list[tuple[int, int]] = []
        store = await open_store(place.address, keys=[NEW], progress=lambda done, total: steps.append((done, total)))
        assert place.readable() == [], "as soon as it is served"
        await store.aclose()
        assert place.readable() == []
        assert steps[-1][0] == steps[-1][1] >= len(SAID)
        assert steps == sorted(steps)
        assert place.seals() == [1]
        assert await everything(place.address, [NEW]) == SAID
        with pytest.raises(KeyRefused):
            await open_store(place.address)

    async def test_everything_comes_back_as_it_was(self, place: Place) -> None:
        store = await open_store(place.address)
        conversation_id = await talk_of_the_canary(store)
        before = await store.recent(conversation_id, 100), await store.find(ROOM_KEY)
        await store.aclose()
        for keys in ([OLD], [NEW, OLD], [NEW]):
            store = await open_store(place.address, keys=keys)
            after = await store.recent(conversation_id, 100), await store.find(ROOM_KEY)
            await store.aclose()
            assert after == before

    async def test_the_second_start_has_nothing_left_to_do(self, place: Place) -> None:
        await fill(place.address, [])
        await fill(place.address, [NEW])
        steps: list[tuple[int, int]] = []
        before = place.contents()
        await (await open_store(place.address, keys=[NEW], progress=lambda *step: steps.append(step))).aclose()
        assert steps == []
        assert place.contents() == before

    @pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
    async def test_killed_in_the_middle_the_next_start_goes_on(self, place: Place, batch: int) -> None:
        await fill(place.address, [])
        await dies_while_sealing(place, [NEW], batch=batch)
        with pytest.raises(KeyRefused):
            await open_store(place.address)
        assert await everything(place.address, [NEW]) == SAID
        assert place.readable() == []

    async def test_killed_in_the_middle_it_may_go_on_with_yet_another_key(self, place: Place) -> None:
        await fill(place.address, [])
        await dies_while_sealing(place, [OLD], batch=2)
        with pytest.raises(KeyRefused):
            await open_store(place.address, keys=[NEW])
        assert await everything(place.address, [NEW, OLD]) == SAID
        assert await everything(place.address, [NEW]) == SAID
        assert place.readable() == []


class RotationLaws:
    """A new key takes the old one's place; the old one is needed once more, and never again."""

    async def test_the_old_key_is_needed_for_one_start(self, place: Place) -> None:
        await fill(place.address, [OLD])
        with pytest.raises(KeyRefused, match="old"):
            await open_store(place.address, keys=[NEW])
        assert await everything(place.address, [NEW, OLD]) == SAID
        assert place.seals() == [2]
        assert await everything(place.address, [NEW]) == SAID
        with pytest.raises(KeyRefused):
            await open_store(place.address, keys=[OLD])

    async def test_killed_in_the_middle_it_goes_on_or_back(self, place: Place) -> None:
        await fill(place.address, [OLD])
        await dies_while_sealing(place, [NEW, OLD], batch=3)
        for keys in ([OLD], [NEW]):
            with pytest.raises(KeyRefused):
                await open_store(place.address, keys=keys)
        assert await everything(place.address, [OLD, NEW]) == SAID
        assert await everything(place.address, [OLD]) == SAID

    async def test_keys_that_are_not_needed_do_no_harm(self, place: Place) -> None:
        await fill(place.address, [OLD, WRONG, NEW])
        assert await everything(place.address, [OLD]) == SAID
        assert await everything(place.address, [NEW, WRONG, OLD, OLD]) == SAID
        assert await everything(place.address, [NEW]) == SAID


DIES_WHILE_SEALING = """
import asyncio, signal, store.postgres_reseal, store.sqlite_reseal
from store import open_store
address, keys, batch = sys.argv[1:]
for engine in (store.postgres_reseal, store.sqlite_reseal):
    engine.ROWS = engine.FILES = 1
def die(done, total):
    if done >= min(int(batch), total):
        tell(done=done)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(open_store(address, keys=[bytes.fromhex(key) for key in keys.split(",")], progress=die))
"""
