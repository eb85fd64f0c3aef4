"""Progress bars on the terminal for work that takes a while; a line where there is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(what: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how far `what` is: the body calls what it is given with (done, total); a total of 0 is not known yet."""
    if not console.is_terminal:
        yield lambda done, total: None
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total or None)


@contextmanager
def passing_bar(what: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """As `progress_bar`, but shown only from the first call on and gone when all is done: other work goes on after that."""
    with ExitStack() as shown:
        show: Callable[[int, int], None] | None = None

        def update(done: int, total: int) -> None:
            nonlocal show
            if show is None and done < total:
                show = shown.enter_context(progress_bar(what, console))
            if show is not None:
                show(done, total)
            if done >= total:
                show = None
                shown.close()

        yield update
