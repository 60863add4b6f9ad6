"""The `group.instance.id` of each mover on this host (KIP-345).

A worker takes over the id of one that was killed here, and with it its partitions, before that one's session has ended.
"""

import fcntl
import hashlib
import logging
import os
import re
import uuid
from pathlib import Path

from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

MOST = 256  # movers of one group on a host that get an id
_AN_ID = re.compile(rb"lamplighter-[0-9a-f]{32}")


class HeldInstanceId:
    """An id that no other process has until `release`, or until this process ends, however it does.

    Attributes:
        text: the id itself; no other folder has it, but for a copy.
    """

    def __init__(self, handle: int) -> None:
        text = os.read(handle, 100)
        self.text = text.decode() if _AN_ID.fullmatch(text) else ""
        self._handle = handle
        # A child holds the lock as long as it has the file open, also when this process is gone.
        watch(self, in_child=HeldInstanceId.release)
        if not self.text:
            self.change()

    def change(self) -> str:
        """Take a new id, since another member of the group has this one."""
        self.text = f"lamplighter-{uuid.uuid4().hex}"
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, self.text.encode(), 0)
        return self.text

    def release(self) -> None:
        """Let another process have the id; a second call changes nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def take_instance_id(folder: Path, group: str) -> HeldInstanceId | None:
    """The first free id of a group; None where the folder can't be written, or all ids are held."""
    # The name of a group may have characters that no file name can.
    prefix = hashlib.sha256(group.encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(MOST):
            instance_id = _taken(folder / f"{prefix}-{number}")
            if instance_id is not None:
                return instance_id
    except OSError as error:
        log.warning(
            "no name can be kept for the mover of delays; where this worker is killed, its part of them waits for the "
            "end of its session",
            extra={"path": str(folder), "reason": error.strerror},
        )
    return None


def _taken(path: Path) -> HeldInstanceId | None:
    """The id in a file; None where another process holds it."""
    # A pipe that somebody has put there is taken for one that another holds, and not waited for.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return HeldInstanceId(handle)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
