"""Long lists, page by page: the option that says which, and the rows of one. Pure."""

from collections.abc import Sequence
from typing import TypeVar

from bot.chat.options import Option, OptionKind

PAGE = 20
"""Rows of one page."""
PAGES = 50
"""Pages that can be asked for: what lies further back is rather asked for by a filter, or in the store itself."""

PAGE_OPTION = Option(
    name="page",
    summary=f"which {PAGE}, the newest are the first",
    kind=OptionKind.INTEGER,
    minimum=1,
    maximum=PAGES,
    default="1",
)

Row = TypeVar("Row")


def needed_for(page: int) -> int:
    """Say how many rows have to be known for a page, and for whether there is another."""
    return page * PAGE + 1


def page_of(rows: Sequence[Row], page: int) -> tuple[Sequence[Row], bool]:
    """Return the rows of a page, and whether another one can be asked for."""
    return rows[(page - 1) * PAGE : page * PAGE], len(rows) > page * PAGE and page < PAGES
