"""Maintenance mode: a file that says that the application is down on purpose."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class FileMaintenance:
    """The application is down while the file is there."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def is_down(self) -> bool:
        """Whether workers wait."""
        return os.path.exists(self._file)  # noqa: PTH110  # asked for twice a second

    def activate(self, payload: Mapping[str, Any]) -> None:
        """Go down; `payload` is kept for whoever asks why."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(dict(payload)), encoding="utf-8")
        draft.replace(self._file)

    def deactivate(self) -> bool:
        """Come up again; False when it was not down."""
        try:
            self._file.unlink()
        except FileNotFoundError:
            return False
        return True
