"""Maintenance mode: a file that says that the application is down on purpose."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamplighter.errors import ConsoleError
from lamplighter.support.files import replacing

log = logging.getLogger(__name__)


class FileMaintenance:
    """The application is down while the file is there, and while nobody can tell whether it is.

    Raises:
        ConsoleError: by what changes it, where the file can't be written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._told = ""  # why it could not be seen, as long as that lasts

    def is_down(self) -> bool:
        """Whether workers wait.

        Where the file can't be looked for, they do, and it is said once: somebody may have put the application down,
        to change what jobs must not meet half changed. `--force` works all the same.
        """
        is_down, reason = True, ""
        try:
            os.stat(self._file)  # noqa: PTH116  # asked for twice a second
        except (FileNotFoundError, NotADirectoryError):  # nobody can have put it there
            is_down = False
        except OSError as error:
            reason = str(error.strerror)
        if reason and reason != self._told:
            log.error(
                "it can't be seen whether the application is in maintenance mode; workers wait as if it were",
                extra={"file": str(self._file), "reason": reason},
            )
        self._told = reason
        return is_down

    def activate(self, payload: Mapping[str, Any]) -> None:
        """Go down; `payload` is kept for whoever asks why."""
        draft = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._file, draft):
                draft.write_text(json.dumps(dict(payload)), encoding="utf-8")
        except OSError as error:
            raise self._unchanged(error) from error

    def deactivate(self) -> bool:
        """Come up again; False when it was not down."""
        try:
            self._file.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unchanged(error) from error
        return True

    def _unchanged(self, error: OSError) -> ConsoleError:
        return ConsoleError(f"Maintenance mode was not changed: {self._file} can't be written: {error.strerror}.")
