"""Failed jobs in a JSON file, laid out as Laravel's."""

import base64
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from lamplighter.contracts import Headers
from lamplighter.database.rows import dump_headers, load_headers
from lamplighter.errors import ConfigError, QueueError, Unavailable
from lamplighter.queue.failed import EVERY, FailedJob, FailedJobs, FailedRecord, Failure, Wanted
from lamplighter.queue.failed.attempts import without_attempts
from lamplighter.queue.failed.naming import chosen_id, name_of
from lamplighter.queue.failed.text import as_text
from lamplighter.queue.failed.trace import format_trace
from lamplighter.support.filelock import FileLock
from lamplighter.support.files import read_file, reason_of_refusal, replacing

log = logging.getLogger(__name__)

T = TypeVar("T")
Entry = dict[str, Any]

LOCK_WAIT = 10.0  # seconds for another process, as Laravel waits; one that was stopped may hold the lock for ever
TIME = "%Y-%m-%d %H:%M:%S"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class FileFailedJobs(FailedJobs):
    """One file for the processes of one host, written anew for each change: for machines without a database.

    The newest record stands first, and beyond `limit` records the oldest are dropped, which the log says. What others
    have written into the file and is no record is left there.

    Every method raises Unavailable while the file can't be used, and QueueError where it holds no list.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        if limit < 1:
            raise ConfigError(
                f"config/queue.py (failed) has the limit {limit}; at least one failed job has to be kept."
            )
        self._path = path
        self._limit = limit
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))

    def record(self, failure: Failure) -> str:
        """Keep a job, in place of an older record of the same message; its id, when it is on the disk."""

        def put(entries: list[Any]) -> tuple[list[Any], tuple[str, list[Entry]]]:
            older = next((entry for entry in entries if _is_of(entry, failure)), None)
            rest = [entry for entry in entries if older is None or entry is not older]
            id = _free_id(rest, failure) if older is None else str(older["id"])
            changed = [_entry(failure, id), *rest]
            dropped = [entry for entry in changed if _is_record(entry)][self._limit :]
            return [entry for entry in changed if not any(entry is one for one in dropped)], (id, dropped)

        id, dropped = self._change(put)
        for entry in dropped:
            told = {name: entry[name] for name in ("id", "connection", "queue")}
            log.error("the oldest failed job is dropped: the file has its limit", extra={"limit": self._limit, **told})
        return id

    def records(self, wanted: Wanted = EVERY, *, ids: Sequence[str] | None = None) -> Iterator[FailedRecord]:
        """The records, the newest first, or those with these ids, in this order."""
        found = [_record(entry) for entry in self._entries() if _is_record(entry)]
        if ids is None:
            yield from filter(wanted.has, found)
            return
        named = {record.id: record for record in reversed(found)}
        yield from (named[id] for id in dict.fromkeys(ids) if id in named)

    def read(self, records: Sequence[FailedRecord]) -> Iterator[FailedJob]:
        """The jobs of these records, in their order, as far as they are there as they were read."""
        found = {_version(entry): entry for entry in self._entries() if _is_record(entry)} if records else {}
        yield from (_job(found[record.version]) for record in records if record.version in found)

    def forget(self, records: Sequence[FailedRecord]) -> int:
        """Delete these records where they are there as they were read; how many."""
        versions = {record.version for record in records}

        def drop(entries: list[Any]) -> tuple[list[Any], int]:
            kept = [entry for entry in entries if not (_is_record(entry) and _version(entry) in versions)]
            return kept, len(entries) - len(kept)

        return self._change(drop) if versions else 0

    # the file ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _change(self, change: Callable[[list[Any]], tuple[list[Any], T]]) -> T:
        """Write what `change` makes of the entries, while no other process does; what it tells beside them."""
        with self._using():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock.held(wait=LOCK_WAIT):
                entries = self._entries()
                changed, told = change(entries)
                if changed != entries:
                    self._write(changed)
        return told

    def _entries(self) -> list[Any]:
        with self._using():
            try:
                data = read_file(self._path)
            except FileNotFoundError:
                return []
        try:
            entries = json.loads(data) if data.strip() else []
        except (ValueError, RecursionError):
            entries = None
        if not isinstance(entries, list):
            raise QueueError(
                f"The file of failed jobs {self._path} can't be read: it holds no list in JSON. Mend it, or move it "
                "away; until then no failed job is recorded, and the jobs wait."
            )
        return entries

    def _write(self, entries: list[Any]) -> None:
        """Put all of it on the disk, then in the place of what was there: half a file would cost every record."""
        data = json.dumps(entries, indent=4).encode()
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.{uuid4().hex[:8]}")
        with replacing(self._path, draft):
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if self._path.exists():
                draft.chmod(self._path.stat().st_mode & 0o777)
        _sync(self._path.parent)

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = reason_of_refusal(error, lock_wait=LOCK_WAIT)
            raise Unavailable(f"The file of failed jobs {self._path} can't be used: {reason}.") from error


def _sync(folder: Path) -> None:
    """Let the new name of a file outlive a power cut."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# one entry ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _entry(failure: Failure, id: str) -> Entry:
    """Laravel's fields, and behind them what only we know; `record` tells an entry from every other one."""
    text, is_clean = as_text(failure.payload)
    now = datetime.now(UTC)
    entry = {
        "id": id,
        "connection": failure.connection,
        "queue": failure.queue,
        "payload": text,
        "exception": format_trace(failure.error),
        "failed_at": now.strftime(TIME),
        "failed_at_timestamp": int(now.timestamp()),
        "key": None if failure.key is None else base64.b64encode(failure.key).decode(),
        "headers": dump_headers(failure.headers),
        "origin": failure.origin,
        "record": uuid4().hex,
    }
    return entry if is_clean else {**entry, "payload_bytes": base64.b64encode(failure.payload).decode()}


def _is_record(entry: object) -> bool:
    """Whether an entry is a failed job; anyone may have written into the file."""
    texts = ("id", "connection", "queue", "payload")
    return isinstance(entry, dict) and all(isinstance(entry.get(name), str) for name in texts)


def _is_of(entry: Any, failure: Failure) -> bool:
    """Whether an entry is of this very message."""
    return _is_record(entry) and (
        entry["connection"],
        entry["queue"],
        entry.get("origin"),
        _bytes(entry, "key"),
        without_attempts(_payload(entry)),
    ) == (failure.connection, failure.queue, failure.origin, failure.key, without_attempts(failure.payload))


def _free_id(entries: Sequence[Any], failure: Failure) -> str:
    """The uuid of the payload, unless another message has it."""
    own = failure.identity
    taken = {entry["id"] for entry in entries if _is_record(entry)}
    return next((id for id in (chosen_id(failure.uuid, own), own) if id not in taken), str(uuid4()))


def _version(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _record(entry: Entry) -> FailedRecord:
    return FailedRecord(**_told(entry))


def _job(entry: Entry) -> FailedJob:
    payload = _payload(entry)
    exception = entry.get("exception")
    return FailedJob(
        **_told(entry),
        name=name_of(payload),
        payload=payload,
        key=_bytes(entry, "key"),
        headers=_headers(entry.get("headers")),
        exception=exception if isinstance(exception, str) else "",
    )


def _told(entry: Entry) -> dict[str, Any]:
    origin = entry.get("origin")
    return {
        "id": entry["id"],
        "connection": entry["connection"],
        "queue": entry["queue"],
        "origin": origin if isinstance(origin, str) else None,
        "failed_at": _failed_at(entry),
        "version": _version(entry),
    }


def _failed_at(entry: Entry) -> datetime:
    """The time of an entry; the timestamp is in no zone, unlike the text that PHP writes beside it."""
    try:
        return datetime.fromtimestamp(int(entry["failed_at_timestamp"]), UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return LONG_AGO


def _payload(entry: Entry) -> bytes:
    kept = _bytes(entry, "payload_bytes")
    text: str = entry["payload"]
    return text.encode("utf-8", "surrogatepass") if kept is None else kept


def _bytes(entry: Entry, name: str) -> bytes | None:
    try:
        return base64.b64decode(entry[name], validate=True)
    except (KeyError, TypeError, ValueError):
        return None


def _headers(text: object) -> Headers:
    return load_headers(text) if isinstance(text, str) else ()
