"""A fetch of model weights as a bar in the terminal."""

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars


class ProgressBar:
    """The `Progress` of `weights_sources.py` on a rich console; where that is no terminal, one line for each start."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars: Bars | None = None
        self._bar: TaskID | None = None

    def start(self, what: str, total: int) -> None:
        self.done()
        if not self._console.is_terminal:
            self._console.print(f"Fetching {what}, {total / 1e6:.0f} MB", markup=False, highlight=False, soft_wrap=True)
            return
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bar = self._bars.add_task(f"Fetching {what}", total=total)
        self._bars.start()

    def advance(self, count: int) -> None:
        if self._bars is not None and self._bar is not None:
            self._bars.advance(self._bar, count)

    def done(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
