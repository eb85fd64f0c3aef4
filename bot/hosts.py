"""Which host names mean this machine, and which ones a network of one's own.

Decided by the name alone, without asking a name server: the answer must be the same offline and can't be rebound.
"""

import re
from ipaddress import ip_address

_OWN_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
_LABEL = re.compile(r"[a-z_][a-z0-9_-]*", re.ASCII)  # a leading digit may be an IPv4 address in decimal or hexadecimal


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine and nobody else can reach it."""
    try:
        return ip_address(_bare(host)).is_loopback
    except ValueError:
        return _bare(host) == "localhost"


def is_address(host: str) -> bool:
    """Tell whether `host` is an IP address rather than a name."""
    try:
        ip_address(_bare(host))
    except ValueError:
        return False
    return True


def is_private(host: str) -> bool:
    """Tell whether `host` is this machine or in a network of one's own: a private address, a name without a domain."""
    name = _bare(host)
    try:
        return ip_address(name).is_private
    except ValueError:
        return name.endswith(_OWN_SUFFIXES) or _LABEL.fullmatch(name) is not None


def _bare(host: str) -> str:
    return host.strip("[]").removesuffix(".").lower()
