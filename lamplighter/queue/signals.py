"""What a worker does on signals: the handlers only leave a word where the main thread waits."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lamplighter.queue.options import StopReason
from lamplighter.queue.worker import Worker

QUIT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


@contextmanager
def handled(worker: Worker) -> Iterator[None]:
    """TERM, INT and QUIT stop after the job in hand, and at once the second time; USR2 pauses, CONT resumes."""
    seen: list[int] = []

    def quit_(number: int, frame: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)
        worker.ask_to_stop(StopReason.INTERRUPTED)

    def pause(number: int, frame: FrameType | None) -> None:
        worker.pause()

    def resume(number: int, frame: FrameType | None) -> None:
        worker.resume()

    handlers = {**dict.fromkeys(QUIT, quit_), signal.SIGUSR2: pause, signal.SIGCONT: resume}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
