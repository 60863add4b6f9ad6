"""A worker is put together of its parts."""

from collections.abc import Callable

from lamplighter.contracts import DatabaseErrors, Events, Maintenance, WorkQueue
from lamplighter.queue.guard.control import Control
from lamplighter.queue.guard.deadlines import Hand
from lamplighter.queue.pools.pool import Pool
from lamplighter.queue.worker.ends import Ends
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.loop import Jobs, Worker
from lamplighter.queue.worker.options import WorkerOptions
from lamplighter.queue.worker.reading import Reading
from lamplighter.queue.worker.runner import Runner, Start
from lamplighter.queue.worker.settling import Settling
from lamplighter.queue.worker.solo import Others, Solo
from lamplighter.queue.worker.source import Source


def make_worker(
    queue: WorkQueue,
    runner: Runner,
    failing: Failing,
    events: Events,
    options: WorkerOptions,
    *,
    database_errors: DatabaseErrors,
    maintenance: Maintenance,
    pool: Pool | None = None,
) -> Worker:
    """A worker whose jobs run in a pool, or, without one, in the thread that calls its `work`."""
    control, hand = Control(grace=options.grace), Hand[Start]()
    settling = Settling(queue, failing, events, database_errors, hand)
    ends = Ends(queue, settling, control.bell)
    source, reading = Source(queue, events, options, control, settling), Reading(runner, settling)
    jobs: Jobs
    if pool is None:
        jobs = Solo(queue, source, runner, reading, ends, events, options, control, hand)
    else:
        # Imported only here: a worker without a pool needs nothing of it.
        from lamplighter.queue.pools.concurrent import Concurrent

        jobs = Concurrent(queue, source, runner, reading, ends, settling, events, options, control, hand, pool=pool)
    return Worker(queue.connection, jobs, runner, settling, events, options, control, hand, maintenance)


def make_slot(
    queue: WorkQueue,
    runner: Runner,
    failing: Failing,
    events: Events,
    options: WorkerOptions,
    *,
    database_errors: DatabaseErrors,
    maintenance: Maintenance,
    others: Others,
) -> Worker:
    """A worker within a process slot: told which jobs it runs in one call, with nothing in hand when the next comes.

    Its end is not said: it is the worker's own that somebody waits for, and slots come and go.
    """
    control, hand = Control(grace=options.grace), Hand[Start]()
    settling = Settling(queue, failing, events, database_errors, hand)
    ends = Ends(queue, settling, control.bell, awaits_pushes=True)
    source, reading = Source(queue, events, options, control, settling), Reading(runner, settling)
    # No other thread stops the timer of the last job here, and a slot that waits must not die of it.
    idle: Callable[[], object] = hand.set_timer
    jobs = Solo(queue, source, runner, reading, ends, events, options, control, hand, others=others, when_idle=idle)
    return Worker(queue.connection, jobs, runner, settling, events, options, control, hand, maintenance, is_told=False)
