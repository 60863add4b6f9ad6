"""Payloads that are too large for their queue: kept in a folder, and fetched by the worker that runs the job."""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lamplighter.errors import AlreadyDone, ClaimLost, ConfigError, Unavailable
from lamplighter.queue.claims.claims import Reference
from lamplighter.support.files import read_file, removed_on_error, replacing

SUFFIX = ".claim"
DONE = ".done"
DRAFT = ".draft"


@dataclass(frozen=True, slots=True)
class Claim:
    """One job's claim on a payload.

    Attributes:
        job: hexadecimal digits that tell the job from others that may claim the same payload.
    """

    reference: Reference
    job: str


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted: payloads, and names of jobs that are done."""

    payloads: int
    done: int


class FileClaims:
    """A folder that every dispatcher and worker of a connection reaches; one file a payload.

    When the job is done, the file is renamed to say so, then emptied. A record of the job that comes again finds that
    name. Renaming is one step: wherever a process dies, the folder has either the payload or the word that its job is
    done.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, payload: bytes, *, delay: float = 0.0) -> Reference:
        """Keep a payload; when this returns it is on the disk. Its age begins when `delay` seconds are over.

        Raises:
            Unavailable: the folder can't be written to.
        """
        reference = Reference(secrets.token_hex(16), hashlib.sha256(payload).hexdigest(), len(payload))
        path = self._payload(reference)
        draft = path.with_suffix(DRAFT)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Nobody is told of a payload that was not kept: only here its file can be removed before it is old.
            with removed_on_error(path):
                with replacing(path, draft), draft.open("xb") as file:
                    file.write(payload)
                    file.flush()
                    if delay > 0:
                        begins = time.time() + delay
                        os.utime(file.fileno(), (begins, begins))
                    os.fsync(file.fileno())
                _sync(self.folder)
        except OSError as error:
            raise Unavailable(f"A payload can't be kept in {self.folder} (claim_check): {error}.") from error
        return reference

    def read(self, claim: Claim) -> bytes:
        """The payload.

        Raises:
            AlreadyDone: the job is done.
            ClaimLost: it is not there, or is another.
            Unavailable: the folder can't be read now.
        """
        reference = claim.reference
        try:
            payload = read_file(self._payload(reference))
        except FileNotFoundError as error:
            raise self._missing(claim) from error
        except OSError as error:
            raise self._away(error) from error
        if len(payload) == reference.size and hashlib.sha256(payload).hexdigest() == reference.digest:
            return payload
        # Its job may be done in another worker, which has emptied the file while it was read.
        if self._is_done(claim):
            raise _already_done(reference)
        raise ClaimLost(
            f"{reference.name}{SUFFIX} in {self.folder} is not what was dispatched: it has {len(payload):,} bytes "
            f"instead of {reference.size:,}, or others."
        )

    def renew(self, claim: Claim) -> None:
        """A record of the job was written or read: the age of what is here of it begins anew."""
        for path in (self._payload(claim.reference), self._done(claim)):
            with suppress(OSError):  # what is missing is told when it is read
                os.utime(path)
                return

    def finish(self, claim: Claim) -> None:
        """The job is done, and its payload will not be read any more; `give_back` takes its space.

        Raises:
            OSError: the folder can't be written to. The payload is there still.
        """
        done = self._done(claim)
        try:
            self._payload(claim.reference).rename(done)
        except FileNotFoundError:
            done.touch()  # the job was done twice at the same time, or its payload was pruned meanwhile

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Give back the space of jobs that are done.

        Raises:
            OSError: the folder can't be written to. `prune` does the rest then.
        """
        self._empty(map(self._done, claims))

    def prune(self, *, hours: float, kept: Callable[[], Collection[str]]) -> Pruned:
        """Delete what is older than so many hours, but for the names that `kept` tells; how much that was.

        It is asked when the old ones are known: what fails meanwhile is told, or was read since and is young again.
        The space of jobs that are done is given back, whatever their age.
        """
        if not self.folder.is_dir():
            return Pruned(0, 0)
        until = time.time() - hours * 3600
        old, full = [], []
        for path, found in _files(self.folder):
            if path.suffix == DONE and found.st_size:
                full.append(path)  # its worker has died before it could empty it
            elif found.st_mtime <= until:
                old.append(path)
        if full:
            self._empty(full)
        names = kept() if old else ()
        counts = {SUFFIX: 0, DRAFT: 0, DONE: 0}
        for path in old:
            if path.name.partition(".")[0] in names or not _is_older(path, until):
                continue
            with suppress(FileNotFoundError):  # a worker was faster
                path.unlink()
                counts[path.suffix] += 1
        return Pruned(counts[SUFFIX] + counts[DRAFT], counts[DONE])

    def _payload(self, reference: Reference) -> Path:
        return self.folder / f"{reference.name}{SUFFIX}"

    def _done(self, claim: Claim) -> Path:
        return self.folder / f"{claim.reference.name}.{claim.job}{DONE}"

    def _is_done(self, claim: Claim) -> bool:
        try:
            self._done(claim).stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._away(error) from error
        return True

    def _missing(self, claim: Claim) -> Exception:
        """What to say of a payload that is not there. It was looked for first: now it has its other name, or none."""
        if self._is_done(claim):
            return _already_done(claim.reference)
        # A folder that is not mounted must fail no job.
        if not self.folder.is_dir():
            return Unavailable(f"The folder {self.folder} (claim_check) is not there.")
        return ClaimLost(
            f"The payload is not in {self.folder} any more: {claim.reference.name}{SUFFIX} was deleted, by "
            f"`queue:prune-claims`, by hand, or when a job of another group, queue or key was done with it; or the "
            f"dispatcher has another folder as its claim_check."
        )

    def _away(self, error: OSError) -> Unavailable:
        return Unavailable(f"A payload can't be read from {self.folder} (claim_check): {error}.")

    def _empty(self, paths: Iterable[Path]) -> None:
        # The new names must be on the disk before the payloads are gone from it.
        _sync(self.folder)
        for path in paths:
            with suppress(FileNotFoundError):  # it was pruned
                os.truncate(path, 0)


def folder_of(path: str | None, *, where: str) -> Path | None:
    """The folder that the key `claim_check` names; None where it is empty.

    Raises:
        ConfigError: it may be another one for each process.
    """
    if not path:
        return None
    if not Path(path).is_absolute():
        raise ConfigError(
            f"{where} has {path!r} for the key 'claim_check', which takes an absolute path: the same folder for every "
            f"dispatcher and worker."
        )
    return Path(path)


def _already_done(reference: Reference) -> AlreadyDone:
    return AlreadyDone(f"The job of the payload {reference.name} is done.")


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files that are ours."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((SUFFIX, DRAFT, DONE)):
                with suppress(FileNotFoundError):  # a worker was faster
                    yield Path(entry.path), entry.stat()


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
