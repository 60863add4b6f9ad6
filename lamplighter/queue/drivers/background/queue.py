"""Starts a process for each job."""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lamplighter.contracts import Message
from lamplighter.errors import QueueError, SlotDied, Unavailable
from lamplighter.queue.dispatching.elsewhere import tell_of_process
from lamplighter.queue.drivers.background.handed import Handed
from lamplighter.queue.drivers.background.slots import Slots
from lamplighter.queue.drivers.inline import Inline
from lamplighter.queue.drivers.sync import SyncDelivery
from lamplighter.queue.failed.naming import name_of
from lamplighter.queue.keepless import KeepsNoJobs
from lamplighter.support.early_signals import PAUSES, held_back
from lamplighter.support.files import open_at_once

log = logging.getLogger(__name__)

COMMAND = "queue:background"
POSITION = "background"


@dataclass(frozen=True, slots=True)
class Program:
    """What is started.

    Attributes:
        folder: the project, with its artisan.py.
        output: the file that gets what the processes print; None lets them write where their dispatcher does.
        timeout: seconds that a job may run where nothing else is said; 0 is without end.
        wait: seconds that a dispatch waits until a process may be started.
    """

    folder: Path
    output: Path | None
    timeout: float
    wait: float


class BackgroundQueue(KeepsNoJobs):
    """A dispatch returns when the process runs and has the job; nothing but that process keeps it from then on.

    A delay is not waited for, and nothing is tried twice, as on a sync connection.
    """

    default_queue = "default"

    def __init__(self, connection: str, program: Program, slots: Slots, make_inline: Callable[[], Inline]) -> None:
        """`make_inline` makes what writes down a job whose process has died before it could do so."""
        self.connection = connection
        self._program = program
        self._slots = slots
        self._make_inline = make_inline

    def push(self, message: Message, *, queue: str, delay: float = 0) -> None:
        """Start a process.

        Raises:
            Unavailable: as many run as may, or the system can't start one.
        """
        slot = self._slots.take(self._program.wait)
        try:
            process = self._start(message, queue, slot)
        except OSError as error:
            why = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
            raise Unavailable(
                f"The process of a background job can't be started in {self._program.folder}: {why}."
            ) from error
        finally:
            self._slots.let_go(slot)
        end = End(process, lambda how: self._record(message, queue, how))
        tell_of_process(end.wait)
        waiting = threading.Thread(target=end.wait, name="lamplighter-background", daemon=True)
        try:
            waiting.start()
        except RuntimeError as error:  # this program is ending, or has as many threads as it may
            log.debug("nobody waits for the process of a background job", extra={"reason": str(error)})

    def _start(self, message: Message, queue: str, slot: int) -> "Process":
        with ExitStack() as written:
            done, written_by_it = os.pipe()
            written.callback(os.close, written_by_it)
            with ExitStack() as read:
                read.callback(os.close, done)
                os.set_blocking(done, False)
                process = self._popen(message, queue, slot, written_by_it)
                read.pop_all()
        return Process(process, done)

    def _popen(self, message: Message, queue: str, slot: int, done: int) -> "subprocess.Popen[bytes]":
        handed = Handed(
            connection=self.connection,
            queue=queue,
            payload=message.payload,
            key=message.key,
            headers=tuple(message.headers),
            slot=slot,
            done=done,
            timeout=self._program.timeout,
        )
        with ExitStack() as files:
            # A file without a name and not a pipe: nobody waits until the process reads, and it has all of it whatever
            # becomes of the dispatcher. Nor an argument, which every user of the host can read.
            given = files.enter_context(tempfile.TemporaryFile())
            given.write(handed.encode())
            given.seek(0)
            output = self._output(files)
            with held_back(PAUSES):  # those are for workers
                return subprocess.Popen(
                    [sys.executable, str(self._program.folder / "artisan.py"), COMMAND],
                    cwd=self._program.folder,
                    stdin=given,
                    stdout=output,
                    stderr=output,
                    pass_fds=(slot, done),
                    start_new_session=True,
                )

    def _output(self, files: ExitStack) -> IO[bytes] | None:
        if self._program.output is None:
            return None
        self._program.output.parent.mkdir(parents=True, exist_ok=True)
        return files.enter_context(open(self._program.output, "ab", opener=open_at_once))

    def _record(self, message: Message, queue: str, how: str) -> QueueError | None:
        """Write down a job whose process has died; an error where that could not be done."""
        delivery = SyncDelivery(message, self.connection, queue, position=POSITION)
        name = name_of(message.payload)
        error = SlotDied(f"The process of {name} ended {how} before the job's end was written down.")
        log.error("the process of a background job has died", extra={"reason": str(error)})
        try:
            Context().run(self._make_inline().give_up, delivery, error)
        except Exception:
            log.exception("a background job whose process has died can't be recorded, and is lost")
        if delivery.is_recorded:
            return None
        return QueueError(f"{error} It could not be recorded as a failed job; the log says why.")


class Process:
    """A process that was started; `done` is a pipe that it writes into when its job is done or recorded."""

    def __init__(self, process: "subprocess.Popen[bytes]", done: int) -> None:
        self._process = process
        self._done = done
        weakref.finalize(self, os.close, done)

    def died(self) -> str | None:
        """Wait for its end; how it has died before its word, None where it has said it.

        Its exit code tells too little: a job may end its process with any; and where the program ignores SIGCHLD, or
        waits for all of its children itself, nobody else learns it.
        """
        status = self._process.wait()
        with suppress(BlockingIOError):
            if os.read(self._done, 1):
                return None
        return _how(status)


class End:
    """The end of one job, which whoever asks first waits for, and writes down; the others wait for that."""

    def __init__(self, process: Process, record: Callable[[str], Exception | None]) -> None:
        self._process = process
        self._record = record
        self._lock = threading.Lock()
        self._is_known = False
        self._lost: Exception | None = None

    def wait(self) -> Exception | None:
        """An error where the job has failed and could not be recorded."""
        with self._lock:
            if not self._is_known:
                how = self._process.died()
                self._lost = None if how is None else self._record(how)
                self._is_known = True
            return self._lost


def _how(status: int) -> str:
    if status == 0:
        return "with status 0, as far as can be seen,"  # see Process.died
    if status > 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"
