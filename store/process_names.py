"""Names of processes, by which a later one on the same machine sees that an earlier one is dead.

A lease says how long its holder may be silent, which has to be long: a holder that is slow is not dead. Whether a process of
the same machine is there the system knows at once, so what a killed one held need not wait for its lease.
"""

import hashlib
import os
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESS_IDS = Path("/proc/self/ns/pid")
_BEGAN = 19
"""The place of a process's first moment among what /proc tells behind its name, in ticks since the machine started."""


def machine() -> str:
    """Name this start of this machine, as far as process ids mean the same: another container is another machine.

    "" where the system doesn't tell; then nobody's death is known.
    """
    try:
        whole = f"{_BOOT.read_text().strip()} {os.readlink(_PROCESS_IDS)}"
    except OSError:
        return ""
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def this_process() -> str:
    """Name this process: "" where the system doesn't tell."""
    where, began = machine(), _began(os.getpid())
    return f"{where}-{os.getpid()}-{began}" if where and began else ""


def is_dead(name: str) -> bool:
    """Tell whether a process, as `this_process` named itself, is known to be dead: it ran on this machine and does not any
    more. False for all that was said elsewhere."""
    where, _, rest = name.partition("-")
    number, _, began = rest.partition("-")
    if not where or where != machine() or not number.isdecimal() or not began:
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return _began(int(number)) not in ("", began)  # its number is another one's by now


def _began(number: int) -> str:
    try:
        told = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return ""
    return told.rpartition(")")[2].split()[_BEGAN]
