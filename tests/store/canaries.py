"""A sealed store in which a canary was said, everywhere that people's words are kept."""

from collections.abc import Sequence
from pathlib import Path

from store import Attachment, Store, open_store
from tests.contracts.store_words import AT, message, named, reply, room, take, texts
from tests.store.files import address_of

OLD, NEW, WRONG = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))
CANARY = "wombat"
ROOM_KEY = room("C1")
SAID = [f"{CANARY} one", f"{CANARY} three", f"{CANARY} answer", f"{CANARY} last"]


def file(data: bytes | None) -> Attachment:
    return Attachment(
        number=0,
        name=f"{CANARY}.txt",
        media_type="text/plain",
        size=len(data or b""),
        url=f"https://{CANARY}.example/file",
        data=data,
    )


async def talk_of_the_canary(store: Store) -> int:
    """Leave the canary in everything that is sealed: texts, an edit, an answer, files, a persona."""
    await store.accept(message(f"{CANARY} one", address="there", attachments=(file(None),)))
    await store.accept(
        message(f"{CANARY} two", message_id="M-edited", address="there", attachments=(file(CANARY.encode()),))
    )
    claim = await take(store)
    await store.keep_attachment(claim.hold, claim.window[0].id, 0, f"{CANARY} data".encode())
    await store.finish(claim.hold, reply("not yet"))
    await store.finish(claim.hold, reply(f"{CANARY} answer"))
    await store.revise(named("M-edited"), f"{CANARY} three")
    await store.release(claim.hold)
    await store.put_persona(claim.hold.conversation_id, f"You are a {CANARY}.")
    await store.append(claim.hold.conversation_id, claim.window[0].role, f"{CANARY} last", at=AT)
    return claim.hold.conversation_id


async def fill(place: Path | str, keys: Sequence[bytes]) -> None:
    """Have the canary said in the store of a file, or at an address."""
    store = await open_store(address_of(place), keys=keys)
    try:
        if await store.find(ROOM_KEY) is None:
            await talk_of_the_canary(store)
    finally:
        await store.aclose()


async def everything(place: Path | str, keys: Sequence[bytes]) -> list[str]:
    """Read what was said, in the way of a bot, and make sure of the rest."""
    store = await open_store(address_of(place), keys=keys)
    try:
        conversation = await store.find(ROOM_KEY)
        assert conversation is not None
        said = await store.recent(conversation.id, 100)
        if len(said) > 1:
            assert conversation.persona == f"You are a {CANARY}."
            kept = [file.data for message in said for file in message.attachments]
            assert kept == [f"{CANARY} data".encode(), CANARY.encode()]
            assert {file.name for message in said for file in message.attachments} == {f"{CANARY}.txt"}
            assert {file.url for message in said for file in message.attachments} == {f"https://{CANARY}.example/file"}
        return texts(said)
    finally:
        await store.aclose()


def seen_in(directory: Path) -> list[str]:
    """Name the files in which the canary can be read."""
    return sorted(path.name for path in directory.iterdir() if CANARY.encode() in path.read_bytes())


def contents(directory: Path) -> dict[str, bytes]:
    # The lock file says who came last; it is no part of the store.
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith(".lock")}
