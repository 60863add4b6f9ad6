"""Decides when the embedded broker may end: while it could be missed, it stays."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from lamplighter.errors import BrokerUnavailable
from lamplighter.kafka.embedded.folder import BrokerFolder

LINGER = 60.0  # seconds that it stays after the last user
KEEP = 7 * 86_400.0  # seconds that it stays after the last user for what nobody has read
LOOK = 1.0  # seconds between two looks


class Broker(Protocol):
    """What the watch asks of the broker whose process it is in."""

    @property
    def address(self) -> str:
        """`host:port`."""

    def unread(self) -> Mapping[str, int]:
        """By topic, how many records nobody has read; whatever it raises means that this is not known."""

    def is_connected(self) -> bool:
        """Whether a client of another process is connected."""


class Watch:
    """One look after the other, until there is a reason to end.

    A user leaves a lease under the folder's lock before it learns the address, and only a look, under the same lock,
    removes the lease of one that is gone. So each use is seen, however short it was, and the time since then counts
    from a look after its end. That time is this process's own monotonic clock: nobody can set it, and it stands still
    while the machine sleeps.

    Args:
        linger: seconds to stay after the last user; None is until told to end.
        keep: seconds to stay after the last user for what nobody has read.
        say: writes a sentence into the broker's log.
    """

    def __init__(
        self,
        folder: BrokerFolder,
        broker: Broker,
        *,
        linger: float | None,
        keep: float = KEEP,
        now: Callable[[], float] = time.monotonic,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._broker = broker
        self._linger = linger
        self._keep = keep
        self._now = now
        self._write = say
        self._used_at = self._looked_at = now()
        self._unread: Mapping[str, int] | None = {}
        self._noted: Mapping[str, int] = {}
        self._was_missing = False
        self._missed_at: float | None = None
        self._told_why = False
        self._said: set[str] = set()

    def run(self, ended: threading.Event) -> str:
        """Look again and again; why the broker ends, and what it takes with it."""
        pause = LOOK if self._linger is None else min(LOOK, self._linger / 2)
        reason = None
        while reason is None and not ended.wait(pause):
            try:
                reason = self.look() or self._is_lost()
            except Exception as error:
                # A full disk, say, must not cost what the broker holds.
                self._say_once(f"It can't look for its users, and stays: {error!r}.")
        if reason is None:
            self._count()
        self._folder.withdraw()
        return f"{reason or 'it was told to'}, with {self._held()}"

    def look(self) -> str | None:
        """Why the broker is to end now; nobody finds it any more then. None while it stays."""
        # Without the lock: whoever finds no file holds it, and waits for a new one.
        if not self._folder.is_published():
            return self._is_not_found()
        # Before the lock is taken: whoever comes during the count leaves a lease, and that is seen then.
        self._count()
        may_end = self._may_end()
        is_connected = may_end and self._broker.is_connected()
        try:
            with self._folder.alone(wait=0):
                self._looked_at = self._now()
                self._was_missing, self._missed_at = False, None
                self._folder.hold()
                if self._folder.take_leases() or is_connected:
                    self._used_at = self._now()
                    self._told_why = False
                    return None
                if may_end:
                    return self._end_unused()
                self._tell_why_it_stays()
                return None
        except (BrokerUnavailable, FileNotFoundError):
            return None  # somebody comes at this moment, or deletes the folder

    def _end_unused(self) -> str:
        self._folder.withdraw()
        return f"nobody has used it for {_span(self._keep if self._holds_something() else self._linger or 0)}"

    def _tell_why_it_stays(self) -> None:
        if self._told_why or self._linger is None or not self._is_unused_for(self._linger):
            return
        self._told_why = True
        self._say(
            f"Nobody has used it for {_span(self._linger)}. It stays, with {self._held()}. If nobody comes it ends "
            f"{_span(self._keep)} after its last use; `kill {os.getpid()}` ends it at once."
        )

    def _may_end(self) -> bool:
        return self._is_unused_for(self._linger) and (not self._holds_something() or self._is_unused_for(self._keep))

    def _is_unused_for(self, seconds: float | None) -> bool:
        return seconds is not None and self._now() - self._used_at > seconds

    def _is_lost(self) -> str | None:
        if self._linger is None or self._now() - self._looked_at <= self._keep:
            return None
        return f"it could not look for its users for {_span(self._keep)}"

    # where its file is gone ────────────────────────────────────────────────────────────────────────────────────────

    def _is_not_found(self) -> str | None:
        """The file was deleted, or the folder, or the whole project, or another broker's file stands there."""
        if not self._folder.path.parent.is_dir():
            return self._is_deleted()
        if self._folder.running() is not None:
            return self._stands_behind_another()
        if not self._was_missing:
            # Whoever deletes the whole project is done with it by the next look, and not hindered by a new file.
            self._was_missing = True
            return None
        try:
            is_back = self._folder.publish_again(self._broker.address)
        except FileNotFoundError:
            return self._is_deleted()
        self._looked_at = self._now()
        if not is_back:
            return self._stands_behind_another()
        self._noted = {}
        self._say("The file that names its address was deleted; it has been written anew.")
        return None

    def _is_deleted(self) -> str | None:
        self._looked_at = self._now()
        if self._missed_at is None:
            self._missed_at = self._now()
        # Those that are connected may still read what it holds; nobody else can.
        if self._now() - self._missed_at <= LINGER and self._holds_something() and self._broker.is_connected():
            return None
        return "its folder was deleted"

    def _stands_behind_another(self) -> str | None:
        """Nobody finds it any more, but those that are connected; what nobody has read it keeps as long as ever."""
        self._looked_at = self._now()
        self._count()
        if self._broker.is_connected():
            self._used_at = self._now()
            return None
        if self._holds_something() and not self._is_unused_for(self._keep):
            self._say_once(
                f"Another has taken its place in {self._folder.path}. It stays, with {self._held()}; "
                f"`kill {os.getpid()}` ends it."
            )
            return None
        return "another has taken its place"

    # what it holds ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _count(self) -> None:
        try:
            self._unread = self._broker.unread()
        except Exception as error:
            self._unread = None
            self._say_once(f"What nobody has read can't be counted: {error!r}.")
            return
        if self._unread == self._noted or not self._folder.is_published():
            return
        try:
            self._folder.note(self._unread)
            self._noted = self._unread
        except OSError as error:
            self._say_once(f"What nobody has read can't be written down: {error!r}.")

    def _holds_something(self) -> bool:
        # What can't be counted may be there.
        return self._unread is None or bool(self._unread)

    def _held(self) -> str:
        return "records that can't be counted" if self._unread is None else describe(self._unread)

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def _say(self, text: str) -> None:
        # The disk of the log may be full, the terminal closed: there is nobody to tell, and no reason to end.
        with suppress(OSError):
            self._write(text)


def describe(unread: Mapping[str, int]) -> str:
    """Such as `3 records that nobody has read (api 1, store 2)`."""
    total = sum(unread.values())
    if not total:
        return "nothing unread"
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(unread.items()))
    return f"{total:,} record{'' if total == 1 else 's'} that nobody has read ({topics})"


def _span(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 7200 else f"{seconds / 86_400:.3g} days"
