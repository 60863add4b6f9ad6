"""Ways in which a job ends its process."""

import ctypes
import os
import signal
import time


def die(how: str) -> None:
    """End this process, or the one that started it, as jobs do that no `except` can catch."""
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "kill":  # as the kernel does when memory is short
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "parent":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
