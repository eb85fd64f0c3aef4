"""`parley export`: what is kept of one person, as files in a directory, for an operator whom that person asked."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.app_governing import open_configured_store, rules_of
from bot.chat.export import Cursor, Person, archives
from bot.clock import SystemClock
from bot.config import Settings
from store import Conversation, StoreDenied


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written."""

    files: tuple[Path, ...]
    conversations: int
    messages: int


async def export_person(settings: Settings, person: Person, directory: Path, show: Callable[[int, int], None]) -> Exported:
    """Write what is kept of `person` into new files in `directory`; `show` is told how many messages are done.

    Raises:
        StoreDenied: the directory can't be written, or holds such a file already.
        StoreRefused, StoreUnavailable.
    """
    clock = SystemClock()
    store = await open_configured_store(settings, clock.now)
    try:
        rules = await rules_of(settings, store, ())

        def kept_until(conversation: Conversation) -> datetime | None:
            key = conversation.key
            ttl = rules.of(key.platform, key.workspace, key.channel).ttl
            return None if ttl is None else conversation.active_at + ttl

        files: list[Path] = []
        conversations = messages = 0
        whole = archives(store, person, after=Cursor(), at=clock.now(), kept_until=kept_until)
        async with aclosing(whole) as made:
            async for archive in made:
                files.append(_written(directory, person, len(files) + 1, archive.data))
                conversations += archive.conversations
                messages += archive.messages
                show(messages, 0)
        return Exported(files=tuple(files), conversations=conversations, messages=messages)
    finally:
        await store.aclose()


def _written(directory: Path, person: Person, number: int, data: bytes) -> Path:
    path = directory / f"parley-export-{person.platform}-{person.workspace or 'direct'}-{person.id}-{number}.zip"
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(data)
    except FileExistsError as exc:
        raise StoreDenied(f"{path} exists already: name another directory") from exc
    except OSError as exc:
        raise StoreDenied(f"{path} can't be written ({exc.strerror}): name a directory that can be") from exc
    return path
