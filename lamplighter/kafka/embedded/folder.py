"""What the processes of one project know of their embedded broker: a few files in storage/framework."""

import hashlib
import json
import os
import socket
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lamplighter.kafka.embedded.life import Life
from lamplighter.kafka.embedded.lock import is_held, is_open_at, let_go, locked, take
from lamplighter.kafka.embedded.topics import TopicReaders, decode, merged
from lamplighter.support.files import read_file, replacing

PUBLISH_WAIT = 5.0  # seconds for the lock under which a broker's address is written


@dataclass(frozen=True, slots=True)
class Running:
    """A broker process that lives."""

    pid: int
    address: str

    def answers(self) -> bool:
        """Whether it takes a connection."""
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return True
        except (OSError, ValueError, OverflowError):
            return False


@dataclass(frozen=True, slots=True)
class Lost:
    """What the last broker held when it ended.

    Attributes:
        was_killed: it could not say that it ends, so that `unread` is what it counted last.
        unread: by topic, how many records nobody had read; without a topic that had none.
    """

    was_killed: bool
    unread: Mapping[str, int]


class BrokerFolder:
    """Where the broker is, who uses it, and the lock under which both are settled.

    The broker holds its file as long as it lives, and a user its lease: what is held by nobody is of one that is gone.
    Where the broker's file was deleted, `Life` still tells that it lives.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "embedded-broker.log"
        self._file = path / "embedded-broker.json"
        self._lock = path / "embedded-broker.lock"
        self._publishing = path / "embedded-publish.lock"
        self._users = path / "embedded-users"
        self._readers = path / "embedded-readers"
        self._unread = path / "embedded-unread.json"
        self._life = Life(path)
        self._published: int | None = None

    @classmethod
    def followed(cls, path: Path) -> "BrokerFolder":
        """The folder for a process that does nothing but serve it: also where `storage` is moved later.

        Changes the current directory, which moves with it.
        """
        os.chdir(path.parent)
        return cls(Path(path.name))

    def alone(self, *, wait: float) -> AbstractContextManager[None]:
        """Hold the lock under which a broker is found, started, used and ended.

        Raises:
            BrokerUnavailable: another process has held it for `wait` seconds.
            OSError: the folder is gone, or can't be written.
        """
        return locked(self._lock, wait=wait)

    def running(self) -> Running | None:
        """The broker that can be found here; None where there is none, it has ended, or its file was deleted.

        Raises:
            OSError: the folder can't be looked at.
        """
        return self._told() if is_held(self._file) else None

    def lives(self) -> bool:
        """Whether a broker lives, be its file deleted or replaced by another.

        Raises:
            OSError: the folder can't be looked at.
        """
        return is_held(self._file) or self._life.is_seen()

    def is_gone(self, address: str) -> bool:
        """Whether the broker at an address has ended; one that can't be found at the moment has not."""
        try:
            running = self.running()
            return running.address != address if running is not None else not self.lives()
        except OSError:
            # Nobody can tell by the files: as where a link or a file has come into the place of a folder.
            return not Running(0, address).answers()

    # a user ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def lease(self) -> int:
        """Count as a user until the descriptor is closed, be it by a crash; only for who is `alone`.

        The file stays when its holder goes: the broker takes it for a use that it did not see.
        """
        self._users.mkdir(exist_ok=True)
        path = self._users / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        take(descriptor)
        return descriptor

    def tell(self, readers: TopicReaders) -> None:
        """Let the broker know who reads what, as long as it lives."""
        data = readers.encode()
        path = self._readers / f"{hashlib.sha256(data).hexdigest()[:16]}.json"
        if not path.exists():
            self._readers.mkdir(exist_ok=True)
            _write(path, data)

    def lost(self) -> Lost | None:
        """What the last broker has taken with it; None where it held nothing and has ended in order."""
        was_killed = self._told() is not None and not is_held(self._file)
        unread = self.unread()
        return Lost(was_killed, unread) if was_killed or unread else None

    def unread(self) -> dict[str, int]:
        """By topic, how many records nobody had read when the broker, or the last one, counted them."""
        try:
            told = json.loads(read_file(self._unread))
            return {str(topic): int(count) for topic, count in told.items()}
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}

    # the broker ────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, address: str) -> bool:
        """Publish a new broker, and forget what was told to the last one; False where another one lives."""
        with locked(self._publishing, wait=PUBLISH_WAIT):
            if self.running() is not None or not self._life.begin():
                self._life.end()
                return False
            self._unread.unlink(missing_ok=True)
            for path in self._readers.glob("*"):
                path.unlink(missing_ok=True)
            try:
                self._publish(address)
            except BaseException:
                self._life.end()
                raise
            return True

    def publish_again(self, address: str) -> bool:
        """Tell anew where the broker is, where its file was deleted; False where another one lives.

        Raises:
            FileNotFoundError: `storage` was deleted.
        """
        self.path.mkdir(exist_ok=True)
        with locked(self._publishing, wait=PUBLISH_WAIT):
            if self.running() is not None:
                return self.is_published()
            if not self._life.begin():
                return False
            self._publish(address)
            return True

    def hold(self) -> bool:
        """Hold anew what tells that this broker lives, where its file was deleted; False where another one lives."""
        return self._life.begin()

    def is_published(self) -> bool:
        """Whether the others still find this broker."""
        return self._published is not None and is_open_at(self._file, self._published)

    def withdraw(self) -> None:
        """Let nobody find this broker any more; leaves a successor's word alone."""
        if self.is_published():
            self._file.unlink(missing_ok=True)
        if self._published is not None:
            let_go(self._published)
            self._published = None
        self._life.end()

    def take_leases(self) -> bool:
        """Whether there was a user since the last look, or is one now; only for who is `alone`.

        The leases of those that are gone are removed: each counts once.
        """
        leases = list(self._users.glob("*.lock"))
        for lease in leases:
            if not is_held(lease):
                lease.unlink(missing_ok=True)
        return bool(leases)

    def readers(self) -> TopicReaders:
        """What all users of this broker have told of who reads what.

        Raises:
            ValueError: a file says something else.
        """
        return merged(decode(read_file(path)) for path in sorted(self._readers.glob("*.json")))

    def note(self, unread: Mapping[str, int]) -> None:
        """Keep what nobody has read yet, for whoever comes when this broker is gone."""
        if unread:
            _write(self._unread, json.dumps(unread).encode())
        else:
            self._unread.unlink(missing_ok=True)

    def _publish(self, address: str) -> None:
        draft = self._file.with_suffix(f".{os.getpid()}")
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with replacing(self._file, draft):
                # Held first, named second: what bears this name and is held by nobody is of a broker that is gone.
                take(descriptor)
                os.ftruncate(descriptor, 0)
                # `os.write` would write what there is room for, and say nothing of the rest.
                with os.fdopen(descriptor, "wb", closefd=False) as file:
                    file.write(json.dumps({"pid": os.getpid(), "address": address}).encode())
        except BaseException:
            os.close(descriptor)
            raise
        if self._published is not None:
            let_go(self._published)
        self._published = descriptor

    def _told(self) -> Running | None:
        try:
            fields = json.loads(read_file(self._file))
            return Running(int(fields["pid"]), str(fields["address"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None


def _write(path: Path, data: bytes) -> None:
    """Replace a file: nobody sees half of it."""
    draft = path.with_suffix(f".{os.getpid()}")
    with replacing(path, draft):
        draft.write_bytes(data)
