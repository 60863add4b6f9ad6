"""The ledger that all processes of a test share: one line for each thing that happens, appended in one write."""

import json
import os
import time
from pathlib import Path
from typing import Any

from lamplighter.kafka.polling import poller
from lamplighter.kafka.polling.committer import Committer


def note(event: str, **fields: Any) -> None:
    """Append one line to the ledger that LEDGER names; a line is whole or not there."""
    write(Path(os.environ["LEDGER"]), event, **fields)


def write(ledger: Path, event: str, **fields: Any) -> None:
    """Append one line to a ledger."""
    head = {"event": event, "pid": os.getpid(), "parent": os.getppid(), "at": time.clock_gettime(time.CLOCK_REALTIME)}
    handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (json.dumps({**head, **fields}) + "\n").encode())
    os.close(handle)


class NotedCommitter(Committer):
    """Writes down which commits were under way: while a group changes, brokers leave them without an answer."""

    def commit(self, *arguments: Any, **keywords: Any) -> bool:
        """Send one."""
        was_sent = super().commit(*arguments, **keywords)
        if self.in_flight:
            note("commit sent")
        return was_sent

    def on_commit(self, *arguments: Any) -> None:
        """Take the answer."""
        super().on_commit(*arguments)
        note("commit answered")


def note_commits() -> None:
    """Have the worker of this process write down its commits."""
    poller.Committer = NotedCommitter  # type: ignore[attr-defined]  # the worker makes its own after this
