"""Names of movers on this host: a worker inherits the name of one that was killed here, and with it its partitions."""

import fcntl
import hashlib
import logging
import os
import re
import uuid
from pathlib import Path

from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

MOST = 256  # movers of one group on a host that get a name
_A_NAME = re.compile(rb"lamplighter-[0-9a-f]{32}")


class HeldName:
    """A name that is this process's alone until `release`, or until the process ends, however it does.

    Attributes:
        text: the name itself: no other folder has it, but for a copy.
    """

    def __init__(self, handle: int) -> None:
        text = os.read(handle, 100)
        self.text = text.decode() if _A_NAME.fullmatch(text) else ""
        self._handle = handle
        # A child holds the lock as long as it has the file open, also when this process is gone.
        watch(self, in_child=HeldName.release)
        if not self.text:
            self.change()

    def change(self) -> str:
        """Take another, as somebody else has this one."""
        self.text = f"lamplighter-{uuid.uuid4().hex}"
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, self.text.encode(), 0)
        return self.text

    def release(self) -> None:
        """Leave it to others; again changes nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def take_name(folder: Path, group: str) -> HeldName | None:
    """The first free name of a group; None where the folder gives none, as one that can't be written."""
    # A group may be called by what no file can.
    prefix = hashlib.sha256(group.encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(MOST):
            name = _taken(folder / f"{prefix}-{number}")
            if name is not None:
                return name
    except OSError as error:
        log.warning(
            "no name can be kept for the mover of delays; where this worker is killed, its part of them waits for the "
            "end of its session",
            extra={"path": str(folder), "reason": error.strerror},
        )
    return None


def _taken(path: Path) -> HeldName | None:
    """The name in a file; None where it is another's."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return HeldName(handle)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
