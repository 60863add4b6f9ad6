"""One call, made by many threads at the same moment."""

import threading
from collections.abc import Callable
from typing import TypeVar

from lamplighter.errors import LamplighterError

THREADS = 16

T = TypeVar("T")


def at_once(act: Callable[[], T]) -> list[T | LamplighterError]:
    """What each thread got, or the error of ours that it met."""
    barrier = threading.Barrier(THREADS)
    outcomes: list[T | LamplighterError] = []

    def run() -> None:
        barrier.wait(10)
        try:
            outcomes.append(act())
        except LamplighterError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(outcomes) == THREADS
    return outcomes
