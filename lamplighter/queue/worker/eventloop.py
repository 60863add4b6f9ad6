"""The event loop that a thread keeps for the handlers which are `async def`."""

import asyncio
import os
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from lamplighter.support.forking import watch
from lamplighter.support.immortal import keep_for_ever


class KeptLoop:
    """An `asyncio.Runner` that a child of a fork leaves alone.

    The kernel watches the files of both in one list: a child that closed the loop would take away from the parent's
    what wakes it for other threads, and its jobs would wait for ever.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._made_in = os.getpid()
        watch(self, in_child=KeptLoop._leave_to_parent)

    def run(self, coroutine: Coroutine[Any, Any, object], *, context: Context) -> object:
        """Run a coroutine to its end."""
        return self._runner.run(coroutine, context=context)

    def close(self) -> None:
        """End what still runs in it, and the loop."""
        self._runner.close()

    def _leave_to_parent(self) -> None:
        keep_for_ever(self._runner)

    def __del__(self) -> None:
        # The loops of other threads are freed with these, before anything else runs in the child.
        if self._made_in != os.getpid():
            self._leave_to_parent()
