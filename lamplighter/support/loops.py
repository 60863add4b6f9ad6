"""What has to be done to its end where an event loop may be running."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def is_in_event_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def outside_of_event_loop(action: Callable[[], T]) -> T:
    """What an action returns, or raises; it runs in a thread of its own where a loop runs in this one.

    A thread can't run two loops, and the action may need one. This thread waits for it meanwhile.
    """
    if not is_in_event_loop():
        return action()
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(action())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="lamplighter-beside-loop")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return returned[0]
