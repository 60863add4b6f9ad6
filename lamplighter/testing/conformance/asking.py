"""How a worker's store is asked, in tests."""

import threading
import time
from collections.abc import Callable, Sequence

from lamplighter.errors import Unavailable
from lamplighter.queue.drivers.leasing.store import Ended, JobStore, Lease
from lamplighter.testing.waiting import LONG


def take(
    store: JobStore,
    queues: Sequence[str],
    *,
    most: int = 1,
    ended: Sequence[Ended] = (),
    seconds: float | None = None,
) -> Sequence[Lease]:
    """Ask as a worker does, until there is a job, which must come; with `seconds` none may come in that time."""
    until = time.monotonic() + (LONG if seconds is None else seconds)
    while True:
        try:
            leases = store.take(queues, most, ended).leases
            ended = ()
        except Unavailable:
            leases = ()
        if leases or time.monotonic() >= until:
            assert leases or seconds is not None, f"no job of {', '.join(queues)} came within {LONG:g} s"
            return leases
        threading.Event().wait(0.02)


def gather(store: JobStore, queues: Sequence[str], count: int) -> list[Lease]:
    """So many jobs, however many calls that takes."""
    found: list[Lease] = []
    while len(found) < count:
        leases = take(store, queues, most=count - len(found), seconds=LONG)
        assert leases, f"{len(found)} of {count} jobs came within {LONG:g} s"
        found += leases
    return found


def take_now(store: JobStore, queues: Sequence[str], ended: Sequence[Ended] = ()) -> list[Lease]:
    """What there is at this moment."""
    return list(store.take(queues, 1, ended).leases)


def again(call: Callable[[], object]) -> None:
    """Ask once more where the store was away."""
    try:
        call()
    except Unavailable:
        call()
