"""How the store fails, and what no store keeps.

StoreError
├── ConversationNotFound      (LookupError) there is no such conversation; nothing was stored
├── LeaseLost                 the turn belongs to somebody else by now: write nothing more, post nothing more
├── UnstorableText            (ValueError) NUL or a lone surrogate, which not every engine can keep
├── StoreClosed               called after `aclose`
├── StoreUnavailable          full, locked or failing: nothing of this call was kept, trying later may work
└── StoreRefused              it will not be opened, and nothing was written
    ├── StoreBusy             another process holds it
    ├── StoreDenied           it may not be read or written
    ├── NotOurs               it is something else: another program's file, a text, an empty file
    ├── StoreDamaged          it was ours, and is broken
    ├── SchemaTooNew          it was written by a newer Parley
    └── KeyRefused            its texts are encrypted, and the key is missing or another one
"""


class StoreError(Exception):
    """Something is wrong with the store; the message names the remedy and no content."""


class ConversationNotFound(StoreError, LookupError):
    """There is no such conversation."""


class LeaseLost(StoreError):
    """The turn belongs to somebody else by now."""


class UnstorableText(StoreError, ValueError):
    """The text has a character that not every engine can keep."""


class StoreClosed(StoreError):
    """The store is closed."""


class StoreUnavailable(StoreError):
    """The store can't do it now; nothing of the call was kept."""


class StoreRefused(StoreError):
    """The store will not be opened."""


class StoreBusy(StoreRefused):
    """Another process holds it."""


class StoreDenied(StoreRefused):
    """It may not be read or written."""


class NotOurs(StoreRefused):
    """It is not a Parley store."""


class StoreDamaged(StoreRefused):
    """It is a Parley store, and broken."""


class SchemaTooNew(StoreRefused):
    """It was written by a newer Parley."""


class KeyRefused(StoreRefused):
    """Its texts are encrypted, and the key is missing or another one."""


def refuse_unstorable(text: str) -> None:
    """Raise `UnstorableText` for what PostgreSQL (NUL) or UTF-8 (lone surrogates) can't keep."""
    if "\0" in text:
        raise UnstorableText("the text holds a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise UnstorableText("the text holds half of a surrogate pair; send valid Unicode") from exc
