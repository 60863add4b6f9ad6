"""Payloads that are too large for their queue: kept in a folder, and fetched by the worker that runs the job."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from lamplighter.errors import ClaimLost, Unavailable
from lamplighter.queue.claims.claims import Reference

SUFFIX = ".claim"
DRAFT = ".draft"


class FileClaims:
    """A folder that every dispatcher and worker of a connection reaches; one file a payload."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, payload: bytes) -> Reference:
        """Keep a payload; when this returns it is on the disk.

        Raises:
            Unavailable: the folder can't be written to.
        """
        reference = Reference(secrets.token_hex(16), hashlib.sha256(payload).hexdigest(), len(payload))
        path = self._path(reference.name)
        draft = path.with_suffix(DRAFT)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with draft.open("xb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            _sync(self.folder)
        except OSError as error:
            raise Unavailable(f"A payload can't be kept in {self.folder} (claim_check): {error}.") from error
        return reference

    def read(self, reference: Reference) -> bytes:
        """The payload.

        Raises:
            ClaimLost: it is not there, or is another.
            Unavailable: the folder can't be read now.
        """
        try:
            payload = self._path(reference.name).read_bytes()
        except FileNotFoundError as error:
            # A folder that is not mounted must fail no job.
            if not self.folder.is_dir():
                raise Unavailable(f"The folder {self.folder} (claim_check) is not there.") from error
            raise ClaimLost(
                f"The payload is not in {self.folder} any more: {reference.name}{SUFFIX} was deleted, by "
                f"`queue:prune-claims` or by hand, or the dispatcher has another folder as its claim_check."
            ) from error
        except OSError as error:
            raise Unavailable(f"A payload can't be read from {self.folder} (claim_check): {error}.") from error
        if len(payload) != reference.size or hashlib.sha256(payload).hexdigest() != reference.digest:
            raise ClaimLost(
                f"{reference.name}{SUFFIX} in {self.folder} is not what was dispatched: it has {len(payload):,} bytes "
                f"instead of {reference.size:,}, or others."
            )
        return payload

    def renew(self, reference: Reference) -> None:
        """It is needed again: its age begins anew."""
        with suppress(OSError):  # what is missing is told when it is read
            os.utime(self._path(reference.name))

    def delete(self, reference: Reference) -> None:
        """The job is done, and its queue knows that."""
        with suppress(OSError):  # it is pruned by its age then
            self._path(reference.name).unlink(missing_ok=True)

    def prune(self, *, hours: float, kept: Callable[[], Collection[str]]) -> int:
        """Delete what is older than so many hours, but for the names that `kept` tells; how many.

        It is asked when the old ones are known: what fails meanwhile is told, or was read since and is young again.
        """
        if not self.folder.is_dir():
            return 0
        until = time.time() - hours * 3600
        paths = [*self.folder.glob(f"*{SUFFIX}"), *self.folder.glob(f"*{DRAFT}")]
        old = [path for path in paths if _is_older(path, until)]
        names = kept()
        count = 0
        for path in old:
            if path.stem in names or not _is_older(path, until):
                continue
            with suppress(FileNotFoundError):  # a worker was faster
                path.unlink()
                count += 1
        return count

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"


def _is_older(path: Path, until: float) -> bool:
    try:
        return path.stat().st_mtime <= until
    except FileNotFoundError:
        return False  # a worker was faster


def _sync(folder: Path) -> None:
    """A file's name is on the disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
