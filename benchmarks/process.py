"""A process whose memory and CPU are watched from outside."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.report import NotMeasured
from benchmarks.stamps import COUNT, Stamps

TICK = 0.02  # seconds between two looks
TAIL = 600  # characters of a process's output that explain its failure


@dataclass(frozen=True)
class Sample:
    """How far a process was, and what it had used by then."""

    done: float
    rss: int
    cpu: float


@dataclass(frozen=True)
class Ended:
    """A process that has ended: all its CPU seconds, and what was seen of it meanwhile."""

    cpu: float
    samples: list[Sample] = field(default_factory=list)

    def cpu_per_job(self, jobs: int) -> float:
        """CPU microseconds of one job, without the process's start and end."""
        inside = [sample for sample in self.samples if 0 < sample.done < jobs]
        if len(inside) < 2:
            return self.cpu / jobs * 1e6
        first, last = inside[0], inside[-1]
        return (last.cpu - first.cpu) / (last.done - first.done) * 1e6


class Process:
    """A program that was started, with its output in a file."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environment: dict[str, str], output: Path) -> None:
        self.began = time.monotonic()
        self.began_at = time.time()
        self.output = output
        with output.open("w") as file:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def wait(self, seconds: float, *, stamps: Stamps | None = None) -> Ended:
        """Wait for its end, sampling it where `stamps` tell how far it is.

        Raises:
            NotMeasured: it ended badly, or not in time.
        """
        samples: list[Sample] = []
        until = time.monotonic() + seconds
        watched = psutil.Process(self._process.pid)
        while True:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                break
            if stamps is not None:
                times = watched.cpu_times()
                samples.append(Sample(stamps.get(COUNT), watched.memory_info().rss, times.user + times.system))
            if time.monotonic() > until:
                self.kill()
                raise NotMeasured(f"not done after {seconds:g} s: {self._tail()}")
            time.sleep(TICK)
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        if code != 0:
            raise NotMeasured(f"ended with {code}: {self._tail()}")
        return Ended(usage.ru_utime + usage.ru_stime, samples)

    def stop(self, seconds: float = 40) -> None:
        """Let it end; kill it when it does not."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def _tail(self) -> str:
        return " ".join(self.output.read_text(errors="replace")[-TAIL:].split())
