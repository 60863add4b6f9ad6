"""A log file that others may rename, remove, or fill the disk under."""

import io
import logging
import logging.handlers
import os
import sys
from contextlib import suppress
from pathlib import Path

from lamplighter.support.files import open_at_once


class LogFile(logging.handlers.WatchedFileHandler):
    """Appends to a file; where it was renamed or removed, as by logrotate, the next line begins a new one.

    While it can't be written (a full disk, a read-only folder), lines go to stderr, and the first of them says why: no
    job fails because its log does.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self._is_out = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            line = self.format(record) + self.terminator
        except Exception:  # what a program logs may be anything
            self.handleError(record)
            return
        try:
            self._append(line)
            self._is_out = False
        except OSError as error:
            self._drop_stream()
            if not self._is_out:
                self._is_out = True
                line = self.format(self._told(error)) + self.terminator + line
            _write_to_stderr(line)

    def _append(self, line: str) -> None:
        self.reopenIfNeeded()
        if self.stream is None:
            self.stream = self._open()
            self._statstream()
        if self._is_out and self._is_torn():
            line = self.terminator + line
        self.stream.write(line)
        self.stream.flush()

    def _open(self) -> io.TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=open_at_once)

    def _is_torn(self) -> bool:
        """Whether the disk was full in the midst of a line."""
        with suppress(OSError), open(self.baseFilename, "rb", opener=open_at_once) as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
        return False

    def _drop_stream(self) -> None:
        # What could not be written is in its buffer, and would be tried again, by its end at last.
        stream, self.stream = self.stream, None
        if stream is not None:
            with suppress(OSError):
                stream.close()

    def _told(self, error: OSError) -> logging.LogRecord:
        fields = {"path": self.baseFilename, "reason": error.strerror}
        message = "the log file can't be written; lines go to stderr until it can"
        return logging.getLogger(__name__).makeRecord(
            __name__, logging.ERROR, __file__, 0, message, (), None, extra=fields
        )


def _write_to_stderr(line: str) -> None:
    with suppress(OSError, ValueError):
        if sys.stderr is not None:  # as where it was closed
            sys.stderr.write(line)
            sys.stderr.flush()
