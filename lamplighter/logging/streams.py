"""A log on stderr that a job may close."""

import logging
import os
from contextlib import suppress
from typing import TextIO


class LogStream(logging.StreamHandler[TextIO]):
    """Writes to a stream; where that was closed, to a duplicate of its descriptor from before.

    A line that can't be written changes nothing of the program.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._duplicate = -1
        with suppress(OSError, ValueError, AttributeError):  # it has no descriptor, or there is no stream
            self._duplicate = os.dup(stream.fileno())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        if getattr(self.stream, "closed", False) and self._duplicate >= 0:
            with suppress(OSError):  # that is closed, too
                self.stream = os.fdopen(self._duplicate, "w", encoding="utf-8", errors="backslashreplace")
            self._duplicate = -1
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 — the name is the standard library's
        """Say that a line could not be written, where there is still somewhere to say it."""
        with suppress(OSError, ValueError):  # `sys.stderr` may be what is closed
            super().handleError(record)

    def close(self) -> None:
        """Let go of the duplicate."""
        if self._duplicate >= 0:
            with suppress(OSError):
                os.close(self._duplicate)
            self._duplicate = -1
        super().close()
