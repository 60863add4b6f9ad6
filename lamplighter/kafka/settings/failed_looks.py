"""Looks at the brokers that only help: whatever goes wrong in one, the thread that looks goes on without it."""

import logging


class FailedLooks:
    """Tells what goes wrong in looks of one kind: once as a WARNING, from then on at DEBUG."""

    def __init__(self, log: logging.Logger, text: str) -> None:
        self._log = log
        self._text = text
        self._is_told = False

    def tell(self, error: Exception) -> None:
        """One more has failed; the next one is tried at its time."""
        level = logging.DEBUG if self._is_told else logging.WARNING
        self._is_told = True
        self._log.log(level, self._text, extra={"reason": f"{type(error).__name__}: {error}"})
