"""How far a loop is: a bar that is drawn again, or lines where nothing can be."""

import time
from collections.abc import Callable

BAR = 28  # cells
REDRAW_SECONDS = 0.1
LINE_SECONDS = 10.0  # between two lines of a log


class Progress:
    """Counts steps and shows the count, at most ten times a second on a terminal, every ten seconds in a log."""

    def __init__(
        self, write: Callable[[str], None], total: int | None, label: str, *, redraws: bool, width: int
    ) -> None:
        self._write = write
        self._total = total
        self._label = f"{label} " if label else ""
        self._redraws = redraws
        self._width = width
        self._pause = REDRAW_SECONDS if redraws else LINE_SECONDS
        self._done = 0
        self._shown_at = time.monotonic()

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        now = time.monotonic()
        if now - self._shown_at >= self._pause:
            self._shown_at = now
            self._show()

    def finish(self) -> None:
        """Show the last count and leave the line."""
        self._show()
        if self._redraws:
            self._write("\n")

    def _show(self) -> None:
        text = f"  {self._label}{self._count()}"
        room = self._width - 1
        self._write(f"\r{text[:room]:<{room}}" if self._redraws else f"{text}\n")

    def _count(self) -> str:
        if not self._total:
            return str(self._done)
        share = min(1.0, self._done / self._total)
        count = f"{self._done}/{self._total}"
        if not self._redraws:
            return f"{count} ({share:.0%})"
        filled = int(share * BAR)
        return f"{count} [{'=' * filled}{'>' if filled < BAR else ''}{'-' * (BAR - filled - 1)}] {share:4.0%}"
