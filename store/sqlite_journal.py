"""Whether the write-ahead log beside a SQLite file still holds all that was committed to it.

SQLite takes the first frame that is damaged for the end of the log, and goes on without what was committed after it, as if
that had never been. Beside the log lies its index, which a killed process leaves behind as it was: as many frames as it
counted must be found again. After a power cut the index may be older than the log, never newer, since the log is synced
first. Both formats are SQLite's (https://sqlite.org/walformat.html).
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_INDEX = struct.Struct("=IIIBBHII2I2I2I")
"""Version, unused, change, is made, is big-endian, page size, frames, pages, checksum of the last frame, salts, own one;
in the machine's byte order, and twice in a row."""
_LOG = struct.Struct(">4I8s2I")
"""Magic, version, page size, sequence, salts, checksum."""
_FRAME = struct.Struct(">2I8s2I")
"""Page, size of the file when it ends a commit, salts, checksum of the log from its head to here; then comes the page."""
_MAGIC = 0x377F0682
"""The last bit tells the byte order of the checksums: 1 is big-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    frames: int
    salts: bytes


def has_lost_frames(path: Path) -> bool:
    """Tell whether the log beside `path` is damaged where something was committed; nothing is written.

    It is to be asked before SQLite reads the file, which makes the index anew. Without an index nobody can tell.
    """
    promised = _index_of(path)
    if promised is None or not promised.frames:
        return False
    with path.with_name(path.name + "-wal").open("rb") as log:
        salts, frames = _sound_frames(log, promised.frames)
    # With other salts the log was begun anew since: the index is from before a power cut.
    return frames < promised.frames and salts in (promised.salts, None)


def _sound_frames(log: BinaryIO, enough: int) -> tuple[bytes | None, int]:
    """Return the salts of a log, None when its head is damaged, and how many sound frames it begins with."""
    head = log.read(_LOG.size)
    if len(head) < _LOG.size:
        return None, 0
    magic, _, page_size, _, salts, *told = _LOG.unpack(head)
    order = ">" if magic & 1 else "<"
    checksum = _checksum(order, head[:24])
    if magic & ~1 != _MAGIC or list(checksum) != told:
        return None, 0
    frames = 0
    while frames < enough:
        frame, page = log.read(_FRAME.size), log.read(page_size)
        if len(page) < page_size:
            break
        _, _, own, *told = _FRAME.unpack(frame)
        checksum = _checksum(order, frame[:8] + page, checksum)
        if own != salts or list(checksum) != told:
            break
        frames += 1
    return salts, frames


def _index_of(path: Path) -> _Index | None:
    try:
        with path.with_name(path.name + "-shm").open("rb") as file:
            first, second = file.read(_INDEX.size), file.read(_INDEX.size)
    except FileNotFoundError:
        return None
    if len(second) < _INDEX.size or first != second:
        return None
    fields = _INDEX.unpack(first)
    own = first[-8:]
    if not fields[3] or _checksum("=", first[:-8]) != struct.unpack("=2I", own):
        return None
    return _Index(frames=fields[6], salts=first[32:40])


def _checksum(order: str, data: bytes, begun: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    first, second = begun
    for one, two in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
