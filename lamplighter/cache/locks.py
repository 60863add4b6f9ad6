"""Locks with owners, over any store that can add and compare."""

import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lamplighter.errors import LockTimeout
from lamplighter.support.forking import notice_fork, watch

POLL = 0.25  # seconds between two tries of `block`


class StoreLock:
    """A lock that lives in a store; only its owner can release it, and it ends by itself."""

    def __init__(
        self,
        name: str,
        *,
        owner: str | None,
        acquire: Callable[[str], bool],
        release: Callable[[str], bool],
    ) -> None:
        self._name = name
        self._owner = owner or secrets.token_hex(8)
        self._acquire = acquire
        self._release = release
        if owner is None:
            watch(self, in_child=StoreLock._begin_as_child)

    @property
    def owner(self) -> str:
        """Who may release it."""
        return self._owner

    def acquire(self) -> bool:
        """Take it if it is free."""
        notice_fork()
        return self._acquire(self._owner)

    def release(self) -> bool:
        """Give it back; False when it is not ours any more."""
        notice_fork()
        return self._release(self._owner)

    def block(self, seconds: float) -> None:
        """Wait for it.

        Raises:
            LockTimeout: it was not free within `seconds`.
        """
        until = time.monotonic() + seconds
        pause = threading.Event()
        while not self.acquire():
            left = until - time.monotonic()
            if left <= 0:
                raise LockTimeout(f"The lock {self._name!r} was not free within {seconds:g} s.")
            pause.wait(min(POLL, left))

    def _begin_as_child(self) -> None:
        """What the parent has taken is not the child's to give back."""
        self._owner = secrets.token_hex(8)

    def __enter__(self) -> Self:
        if not self.acquire():
            raise LockTimeout(f"The lock {self._name!r} is taken.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
