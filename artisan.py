"""The console: `python artisan.py list` shows what it can do."""

import os
import signal
import sys
from pathlib import Path

if os.getpid() == 1:
    # The kernel drops a signal to process 1 of a container that nobody handles: it has to end while it boots, too.
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda number, frame: os._exit(128 + number))

sys.path.insert(0, str(Path(__file__).resolve().parent))

if __name__ == "__main__":
    from lamplighter.support.early_signals import keep_pauses

    keep_pauses(sys.argv[1:])
    from bootstrap.app import create_app

    sys.exit(create_app().run(sys.argv[1:]))
