"""The program of a process slot, `python -m lamplighter.queue.pools.process.main`: a worker starts it, nobody else."""

import importlib
import json
import sys
import threading
import traceback
from typing import NoReturn, cast

from lamplighter.contracts import Application, DatabaseErrors, Maintenance, WorkQueue
from lamplighter.events import Dispatcher as Events
from lamplighter.queue.dispatching.deferring import at_once, deferring
from lamplighter.queue.events import JobFailed, JobReleased
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.guard.children import only_in_the_parent
from lamplighter.queue.guard.ending import leave
from lamplighter.queue.guard.garbage import spare_the_collector
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.pools.making import make_slot
from lamplighter.queue.pools.process.child import (
    Handling,
    SlotFailing,
    SlotQueue,
    SlotRunner,
    join_the_worker,
    leave_signals_to_the_worker,
    others_of,
)
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.options import WorkerOptions

TURN = 1.0  # seconds; the worker says when there is something, and a slot looks after its timer meanwhile


def command(app: Application, connection: str, defaults: Policy) -> list[str]:
    """The words that start a slot of this application."""
    settings = {
        "folder": str(app.base_path),
        "connection": connection,
        "tries": defaults.tries,
        "backoff": defaults.backoff,
        "timeout": defaults.timeout,
    }
    return [sys.executable, "-m", "lamplighter.queue.pools.process.main", json.dumps(settings)]


def main(arguments: list[str]) -> int:
    """Boot the application once, then run what comes over the socket until its other end is closed."""
    told = threading.Event()
    handling = Handling()
    leave_signals_to_the_worker(told, handling)
    settings = json.loads(arguments[0])
    connection = join_the_worker(int(arguments[1].removeprefix("--fd=")))
    sys.path.insert(0, settings["folder"])
    with deferring():
        app: Application = importlib.import_module("bootstrap.app").create_app().bootstrap()
    # The worker works it, too, so that it is one to work.
    target = cast(WorkQueue, app.make(QueueManager).connection(settings["connection"]))
    queue = SlotQueue(connection, target, told)
    defaults = Policy(settings["tries"], tuple(settings["backoff"]), settings["timeout"])
    worker = _worker(app, queue, target, defaults, handling)
    queue.open((), worker.control.bell)
    spare_the_collector()
    with only_in_the_parent(), at_once():
        status = worker.work()
    queue.close(timeout=10)
    return status


def _worker(app: Application, queue: SlotQueue, target: WorkQueue, defaults: Policy, handling: Handling) -> Worker:
    runner = SlotRunner(app.make(Registry), app, defaults, read_claim=target.read_claim, handling=handling)
    # The application's own listeners hear of jobs in the worker; here only the socket does.
    events = Events()
    events.listen(JobReleased, lambda event: queue.explain(event.error))
    events.listen(JobFailed, lambda event: queue.explain(event.error))
    return make_slot(
        queue,
        runner,
        SlotFailing(app.make(FailedJobs), runner),
        events,
        WorkerOptions(queues=(), defaults=defaults, stop_when_empty=True, sleep=TURN, force=True, memory=0),
        database_errors=app.make(DatabaseErrors),
        maintenance=app.make(Maintenance),
        others=others_of,
    )


def run(arguments: list[str]) -> NoReturn:
    """Be a slot, and end: threads that jobs have left must not keep a process whose loop has ended by an error."""
    status = 1
    try:
        status = main(arguments)
    except Exception:
        traceback.print_exc()
    leave(status)


if __name__ == "__main__":
    run(sys.argv[1:])
