"""Slots that are processes: for jobs that compute, and for jobs that may die of what they do."""

import contextlib
import logging
import random
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from lamplighter.errors import ConsoleError, Unavailable
from lamplighter.queue.guard.signals import OF_SLOTS
from lamplighter.queue.guard.timers import spawn
from lamplighter.queue.pools.pool import Ended as EndedCall
from lamplighter.queue.pools.process.slot import NEVER, Slot, how
from lamplighter.queue.pools.process.wire import (
    Began,
    Ended,
    Error,
    Failing,
    Ready,
    Recorded,
    Run,
    RunMany,
    Stop,
    frame,
    from_slot,
    receive,
)
from lamplighter.queue.worker.many import Many
from lamplighter.queue.worker.runner import Start
from lamplighter.queue.worker.settling import time_to_fail
from lamplighter.queue.worker.verdicts import ErrorElsewhere, Verdict
from lamplighter.support.early_signals import held_back
from lamplighter.support.forking import watch

log = logging.getLogger(__name__)

STACK = 0.1  # seconds for writing the stack of a job that is overdue
KILL_AFTER = 5.0  # seconds from TERM to KILL, at most
KILL_FAILING_AFTER = 0.5  # seconds where no handler runs that could obey TERM, but the end of a failed job
BOOT = 60.0  # seconds for booting the application
PATIENCE = 5.0  # seconds in which a slot takes what it is sent
LEAVE = 10.0  # seconds for slots to end by themselves, at most
JITTER = 0.1  # part of a slot's jobs by which slots differ, so that they are not all renewed at once
LOOK = 1.0  # seconds between two looks at a slot's memory
TURN = 0.1  # seconds between two looks at what is overdue
AGAIN = 1.0  # seconds until a process that could not be started is tried again
MOST_FAILED_BOOTS = 3


@dataclass(frozen=True, slots=True)
class SlotOptions:
    """How slots are made and renewed; 0 is no limit.

    Attributes:
        command: the program of a slot, to which `--fd=N` is added.
        max_jobs: jobs after which a slot is renewed, more or less.
        max_memory: resident megabytes from which on it is.
        leave: seconds for slots to end by themselves, and again after TERM, when the worker ends.
    """

    command: Sequence[str]
    folder: Path
    slots: int
    max_jobs: int = 0
    max_memory: int = 0
    leave: float = LEAVE


class ProcessPool:
    """Processes that are spawned, never forked, each of which boots the application once.

    Attributes:
        failure: why no slot can be made; None while they can.
        is_ready: a first slot has booted.
    """

    def __init__(self, options: SlotOptions) -> None:
        self.failure: BaseException | None = None
        self.is_ready = False
        self.spare = NEVER  # a job's time begins in its slot, which is looked after here
        self._options = options
        self._slots: list[Slot] = []
        self._waiting: deque[Start] = deque()
        self._selector = selectors.DefaultSelector()
        self._lock = threading.RLock()
        self._ended: EndedCall = lambda start, outcome: None
        self._missing = options.slots
        self._spawn_at = 0.0
        self._failed_boots = 0
        self._kill_after = min(KILL_AFTER, 2 * options.leave)  # so that the end of a worker has time for it
        self._is_closing = threading.Event()
        self._next_number = 0
        self._thread = threading.Thread(target=self._serve, name="lamplighter-slots", daemon=True)
        watch(self, in_child=ProcessPool._begin_as_child)

    def open(self, ended: EndedCall) -> None:
        """Begin to start the processes."""
        self._ended = ended
        self._thread.start()

    def submit(self, start: Start) -> None:
        """Run this one in the next free process."""
        with self._lock:
            self._waiting.append(start)
            self._hand_out()

    def overrun(self, start: Start) -> bool:
        """End its process, and nothing else."""
        with self._lock:
            slot = next((slot for slot in self._slots if slot.start is start), None)
            if slot is not None:
                slot.is_out_of_grace = True
                self._overrun(slot)
                return True
            if start not in self._waiting:
                return False
            self._waiting.remove(start)
        self._ended(start, Unavailable(f"{start.name} has not begun: no process was free for it."))
        return True

    def has_ended(self, start: Start) -> bool:
        """Whether all that is left of it in its slot has failed, and is being recorded, or told to `failed()`."""
        with self._lock:
            slot = next((slot for slot in self._slots if slot.start is start), None)
            return slot is not None and bool(slot.failing) and slot.failing.keys() >= slot.numbers.keys()

    def stack_of(self, start: Start) -> int | None:
        """It runs in no thread of this process."""
        return None

    def close(self) -> None:
        """End all processes: by asking, then by TERM, then by KILL."""
        if self._is_closing.is_set():
            return
        with self._lock:
            self._is_closing.set()
            for slot in self._slots:
                if slot.is_ready:
                    _send(slot, Stop())
                else:
                    _signal(slot, signal.SIGKILL)  # it has nothing in hand, and would first boot
        self._thread.join(self._options.leave)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self._lock:
                for slot in self._slots:
                    _signal(slot, number)
            self._thread.join(min(self._kill_after, self._options.leave))

    # the thread of the slots ───────────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        try:
            # As long as a slot is there: on Linux those that a thread has started are killed at its end.
            while self._slots or not self._is_closing.is_set():
                for key, _ in self._selector.select(0 if self._start_missing() else TURN):
                    self._read(key.data)
                self._end_what_is_overdue()
            self._selector.close()
        except Exception as error:
            self.failure = error  # nobody would look after jobs and slots: the worker has to end

    def _start_missing(self) -> bool:
        """Start one of the processes that are missing; whether there may be others to start at once."""
        with self._lock:
            if not self._missing or self._is_closing.is_set() or time.monotonic() < self._spawn_at:
                return False
            try:
                self._spawn()
            except OSError as error:
                # There may be no memory for it where the OOM killer has just taken one; the others go on.
                self._spawn_at = time.monotonic() + AGAIN
                self._failed_boots += 1
                log.error("a slot's process could not be started; it is tried again", extra={"reason": str(error)})
                if self._failed_boots >= MOST_FAILED_BOOTS:
                    self.failure = ConsoleError(f"No process can be started for a slot: {error}.")
                return False
            self._missing -= 1
        return True

    def _read(self, slot: Slot) -> None:
        data = receive(slot.connection)
        if not data:
            self._bury(slot)
            return
        for body in slot.frames.feed(data):
            try:
                message = from_slot.decode(body)
            except msgspec.DecodeError:
                # Its job has its socket, and may have written to it: that must end neither the worker nor other slots.
                log.exception("what a slot says can't be read; its process is killed")
                _signal(slot, signal.SIGKILL)
                return
            if isinstance(message, Ready):
                self._failed_boots = 0
                self.is_ready = True
                slot.is_ready, slot.until = True, NEVER
                with self._lock:
                    self._hand_out()
            elif isinstance(message, Began):
                slot.has_begun = True
            elif isinstance(message, Failing):
                self._fail(slot, message)
            elif isinstance(message, Recorded):
                slot.recorded.add(message.number)
                if message.number in slot.numbers:
                    slot.numbers[message.number].delivery.is_recorded = True  # where its failed() is to be called again
            else:
                self._end(slot, message)

    def _fail(self, slot: Slot, message: Failing) -> None:
        """The handler has come to its end; what follows has a time of its own, as in the other pools."""
        with self._lock:
            one = slot.numbers.get(message.number)
            if one is None:
                return
            slot.failing[message.number] = _elsewhere(message.error)
            if not slot.is_out_of_grace:
                slot.until = time.monotonic() + time_to_fail(one.policy.timeout)
                slot.kill_at = 0.0  # the handler may have come to its end just when it was overdue

    def _end(self, slot: Slot, message: Ended) -> None:
        told = _elsewhere(message.error) if message.error else None
        refusal = told if message.kind == "hold" else None
        with self._lock:
            own = slot.failing.pop(message.number, None)
            verdict = Verdict(message.kind, message.delay, message.counted, own or told, refusal)  # type: ignore[arg-type]
            one = slot.numbers.pop(message.number, None)
            slot.done += 1
            if isinstance(slot.start, Many) and one is not None:
                slot.start.verdicts[one] = verdict
            if slot.numbers:
                return
            start, slot.start, slot.has_begun, slot.until = slot.start, None, False, NEVER
            slot.recorded.clear()
            if slot.timed_out:
                slot.kill_at = (
                    time.monotonic() + self._kill_after
                )  # it has been told to end, and has nothing left to do
            if self._must_be_renewed(slot):
                self._retire(slot)
            self._hand_out()
        if start is not None:
            self._ended(start, None if isinstance(start, Many) else verdict)

    def _bury(self, slot: Slot) -> None:
        """A process has ended: what it had begun is told, what it had not begun is run by another."""
        self._selector.unregister(slot.connection)
        slot.connection.close()
        status = slot.process.wait()
        with self._lock:
            self._slots.remove(slot)
            start = slot.start
            if start is not None and not slot.has_begun:
                self._waiting.appendleft(start)
                start = None
            if not slot.is_ready and (slot.timed_out or status != -signal.SIGTERM):
                self._failed_boots += 1  # else its whole service was told to end
            if self._failed_boots >= MOST_FAILED_BOOTS:
                self.failure = ConsoleError(_no_slots(status))
            elif not slot.is_retiring:
                self._missing += 1
        if start is not None:
            self._ended(start, slot.outcome(start, status))

    def _end_what_is_overdue(self) -> None:
        now = time.monotonic()
        with self._lock:
            for slot in self._slots:
                if now >= slot.until:
                    self._overrun(slot)
                if slot.kill_at and now >= slot.kill_at:
                    slot.kill_at = 0.0
                    _signal(slot, signal.SIGKILL)

    def _overrun(self, slot: Slot) -> None:
        """Have a slot end: first its stack, for whoever reads the log. It obeys TERM only when it was told to stop."""
        slot.timed_out, slot.until = True, NEVER
        # TERM reaches handlers alone.
        slot.kill_at = time.monotonic() + (KILL_FAILING_AFTER if slot.failing else self._kill_after)
        _send(slot, Stop())
        _signal(slot, signal.SIGUSR1)
        if not spawn(lambda: _terminate(slot)):
            _signal(slot, signal.SIGTERM)

    def _begin_as_child(self) -> None:
        """A slot sees that its worker is gone when nobody has the other end of its socket any more."""
        for slot in self._slots:
            slot.connection.close()

    # under the lock ────────────────────────────────────────────────────────────────────────────────────────────────

    def _hand_out(self) -> None:
        for slot in self._slots:
            if not self._waiting:
                return
            if slot.is_ready and slot.start is None and not slot.is_retiring and not slot.timed_out:
                slot.start = start = self._waiting.popleft()
                start.began = time.monotonic()
                slot.until = start.began + (start.policy.timeout or NEVER)
                _send(slot, self._message(slot, slot.start))

    def _message(self, slot: Slot, start: Start) -> Run | RunMany:
        if isinstance(start, Many):
            return RunMany([self._run(slot, one) for one in start.handled()])
        return self._run(slot, start)

    def _run(self, slot: Slot, start: Start) -> Run:
        delivery = start.delivery
        self._next_number += 1
        slot.numbers[self._next_number] = start
        return Run(
            self._next_number,
            delivery.payload,
            delivery.key,
            list(delivery.headers),
            delivery.queue,
            delivery.connection,
            delivery.position,
            delivery.timestamp_ms,
            delivery.retries,
            delivery.has_crashed,
            delivery.excused,
        )

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        with contextlib.ExitStack() as undo, theirs, held_back(OF_SLOTS):
            undo.enter_context(ours)
            process = subprocess.Popen(
                [*self._options.command, f"--fd={theirs.fileno()}"],
                cwd=self._options.folder,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C reaches the whole terminal, also while a slot can't know yet that it is meant for the worker.
                process_group=0,
            )
            undo.pop_all()
        jobs = self._options.max_jobs
        renew_after = jobs * random.uniform(1 - JITTER, 1 + JITTER) if jobs else float("inf")
        slot = Slot(process, ours, renew_after, until=time.monotonic() + BOOT)
        self._slots.append(slot)
        self._selector.register(ours, selectors.EVENT_READ, slot)

    def _must_be_renewed(self, slot: Slot) -> bool:
        if slot.done >= slot.renew_after:
            return True
        now = time.monotonic()
        if not self._options.max_memory or now - slot.looked_at < LOOK:
            return False
        slot.looked_at = now
        with contextlib.suppress(psutil.Error):
            return bool(psutil.Process(slot.process.pid).memory_info().rss >= self._options.max_memory * 2**20)
        return False

    def _retire(self, slot: Slot) -> None:
        slot.is_retiring = True
        _send(slot, Stop())
        self._missing += 1


def _elsewhere(error: Error) -> ErrorElsewhere:
    return ErrorElsewhere.of(error.module, error.name, error.text, error.trace)


def _send(slot: Slot, message: Run | RunMany | Stop) -> None:
    try:
        slot.connection.sendall(frame(message))
    except TimeoutError:
        _signal(slot, signal.SIGKILL)  # it was stopped from outside, and would get half of a message
    except OSError:
        pass  # it is gone: its end is told by the selector


def _no_slots(status: int) -> str:
    return (
        f"The processes of the slots end before they are ready, the last one {how(status)}; what they have written "
        f"stands above. When it is mended, start the worker again; `--pool=solo` shows the same error at its start."
    )


def _signal(slot: Slot, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        slot.process.send_signal(number)


def _terminate(slot: Slot) -> None:
    time.sleep(STACK)
    _signal(slot, signal.SIGTERM)
