"""The program of a worker that `queue:listen` has started: it ends when that ends, however that ends.

Run by its path, `python -P -B reloaded.py FD artisan.py queue:work …`: it needs the standard library alone. `FD` is the
end of a pipe that stays silent as long as the listener lives.
"""

import os
import runpy
import signal
import sys
import threading


def end_with(listener: int) -> None:
    """Ask this process to end in order when the other end of the pipe is closed."""
    while os.read(listener, 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


def main(words: list[str]) -> None:
    """Become the artisan of the application."""
    listener, program = int(words[0]), words[1]
    os.set_inheritable(listener, False)
    threading.Thread(target=end_with, args=(listener,), name="lamplighter-listener", daemon=True).start()
    sys.argv = words[1:]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
