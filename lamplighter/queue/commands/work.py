"""`queue:work`: runs jobs from one connection until there is a reason to stop."""

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, cast
from zoneinfo import ZoneInfo

import typer

from lamplighter.cache.manager import CacheManager
from lamplighter.console.command import Command
from lamplighter.console.options import LONGEST
from lamplighter.contracts import Application, Config, DatabaseErrors, Events, Maintenance, WorkQueue
from lamplighter.errors import ConfigError, ConsoleError
from lamplighter.queue.commands.lines import JsonLines, Lines
from lamplighter.queue.dispatching.deferring import at_once
from lamplighter.queue.failed import FailedJobs
from lamplighter.queue.guard.health import Heartbeat
from lamplighter.queue.guard.pausing import PauseSignals, PauseWatch
from lamplighter.queue.guard.process import WorkerProcess
from lamplighter.queue.guard.restart import RestartSignal, RestartWatch, process_began
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.jobs.retries import Policy, check_waits, parse_backoff
from lamplighter.queue.manager import QueueManager
from lamplighter.queue.pools.factory import make_pool
from lamplighter.queue.pools.making import make_worker
from lamplighter.queue.worker.failing import Failing
from lamplighter.queue.worker.loop import Worker
from lamplighter.queue.worker.options import PoolKind, WorkerOptions
from lamplighter.queue.worker.runner import Runner

MOST_SLOTS = 10_000  # a slip of the keyboard must not take all memory and threads of the host
# An option is called as its parameter is, unless it says another name.
_seconds = partial(typer.Option, min=0, max=LONGEST)
_count = partial(typer.Option, min=0)
_slots = partial(typer.Option, min=1, max=MOST_SLOTS)


class WorkCommand(Command):
    """Start processing jobs on the queue as a daemon."""

    name = "queue:work"
    description = "Start processing jobs on the queue as a daemon"

    def __init__(
        self,
        app: Application,
        config: Config,
        queues: QueueManager,
        events: Events,
        caches: CacheManager,
        failed_jobs: FailedJobs,
        database_errors: DatabaseErrors,
        maintenance: Maintenance,
        zone: ZoneInfo,
    ) -> None:
        self._app = app
        self._config = config
        self._queues = queues
        self._events = events
        self._caches = caches
        self._failed_jobs = failed_jobs
        self._database_errors = database_errors
        self._maintenance = maintenance
        self._zone = zone

    def handle(
        self,
        connection: Annotated[str | None, typer.Argument(help="The connection to work")] = None,
        worker_name: Annotated[str, typer.Option("--name", help="The name of the worker")] = "default",
        queue: Annotated[str | None, typer.Option(help="The queues to work, the first one first")] = None,
        daemon: Annotated[bool, typer.Option(help="Nothing: every worker is one", hidden=True)] = False,
        once: Annotated[bool, typer.Option(help="Only process the next job")] = False,
        stop_when_empty: Annotated[bool, typer.Option(help="Stop when the queue is empty")] = False,
        stop_when_empty_for: Annotated[float, _seconds(help="Stop after so many seconds without a job")] = 0,
        delay: Annotated[float, _seconds(help="The older name of --backoff", hidden=True)] = 0,
        backoff: Annotated[str, typer.Option(help="Seconds before each retry, such as 1,5,30")] = "0",
        max_jobs: Annotated[int, _count(help="Stop after so many jobs")] = 0,
        max_time: Annotated[float, _seconds(help="Stop after so many seconds")] = 0,
        force: Annotated[bool, typer.Option(help="Work in maintenance mode too")] = False,
        memory: Annotated[int, _count(help="Stop at so many megabytes; 0 is no limit")] = 128,
        sleep: Annotated[float, _seconds(help="Seconds to wait at most for a job")] = 3,
        rest: Annotated[float, _seconds(help="Seconds to rest after each job")] = 0,
        timeout: Annotated[float, _seconds(help="Seconds that a job may run; 0 is no limit")] = 60,
        tries: Annotated[int, _count(help="How often a job is started; 0 is no limit")] = 1,
        grace: Annotated[float | None, _seconds(help="Seconds that a job may go on after a signal to stop")] = None,
        shutdown_timeout: Annotated[float, _seconds(min=1, help="Seconds for committing and leaving at the end")] = 30,
        json: Annotated[bool, typer.Option(help="Print one JSON object a line")] = False,
        pool: Annotated[
            PoolKind | None, typer.Option(help="Where jobs run; without it solo, or process with a concurrency")
        ] = None,
        concurrency: Annotated[int, _slots("--concurrency", "-c", help="How many jobs run beside each other")] = 1,
        max_jobs_per_slot: Annotated[int, _count(help="Renew a process after so many jobs; 0 is never")] = 0,
        max_memory_per_slot: Annotated[int, _count(help="Renew a process at so many megabytes; 0 is never")] = 0,
    ) -> int:
        if once and not force and self._maintenance.is_down():
            time.sleep(sleep)
            return 0
        target = self._target(connection)
        options = WorkerOptions(
            pool=_pool(pool, concurrency, renews=bool(max_jobs_per_slot or max_memory_per_slot)),
            defaults=Policy(tries=tries, backoff=_backoff(backoff, delay), timeout=timeout),
            queues=_names(queue or target.default_queue),
            name=worker_name,
            once=once,
            stop_when_empty=stop_when_empty,
            stop_when_empty_for=stop_when_empty_for,
            max_jobs=max_jobs,
            max_time=max_time,
            memory=memory,
            sleep=sleep,
            rest=rest,
            force=force,
            grace=grace,
            shutdown=shutdown_timeout,
            concurrency=concurrency,
            max_jobs_per_slot=max_jobs_per_slot,
            max_memory_per_slot=max_memory_per_slot,
        )
        return self._work(target, options, as_json=json)

    def _work(self, queue: WorkQueue, options: WorkerOptions, *, as_json: bool) -> int:
        cache = self._caches.store(timeout=1.0)
        signal = RestartSignal(cache)
        restart = RestartWatch(signal.read, started_at=process_began(), read_exact=signal.read_exact)
        restart.first_read()
        registry = self._app.make(Registry)
        runner = Runner(registry, self._app, options.defaults, read_claim=queue.read_claim)
        failing = Failing(self._failed_jobs, runner)
        worker = self._worker(queue, runner, failing, options)
        worker.look_for_maintenance()
        pauses = PauseSignals(cache, self._queues.names_of)
        process = WorkerProcess(
            worker=worker,
            queue=queue,
            failing=failing,
            events=self._events,
            options=options,
            heartbeat=Heartbeat(self._app.path("storage/framework/workers"), queue.connection, options.queues),
            restart=restart,
            pauses=PauseWatch(pauses, queue, worker.control, self._events, options.queues),
            flush=self._show(options, as_json=as_json),
            leave_within=self._app.leave_within,
        )
        with at_once():
            return process.run()

    def _worker(self, queue: WorkQueue, runner: Runner, failing: Failing, options: WorkerOptions) -> Worker:
        pool = None
        if options.pool != PoolKind.SOLO:
            pool = make_pool(self._app, queue.connection, runner, options)
        return make_worker(
            queue,
            runner,
            failing,
            self._events,
            options,
            database_errors=self._database_errors,
            maintenance=self._maintenance,
            pool=pool,
        )

    def _show(self, options: WorkerOptions, *, as_json: bool) -> Callable[[], object]:
        if self.output.is_quiet:
            return _nothing
        lines = (JsonLines if as_json else Lines)(self.output, self._zone)
        lines.listen(self._events)
        if not as_json and self.output.is_terminal:
            noun = "queue" if len(options.queues) == 1 else "queues"
            self.output.info(f"Processing jobs from the [{','.join(options.queues)}] {noun}.")
        return lines.flush

    def _target(self, connection: str | None) -> WorkQueue:
        queue = self._queues.connection(connection)
        if "work" not in queue.lacks:
            return cast(WorkQueue, queue)
        able = self._queues.able("work")
        advice = (
            f"Name one that can, as in `queue:work {able[0]}`, or set QUEUE_CONNECTION. There are: {', '.join(able)}."
            if able
            else "config/queue.py has none that can."
        )
        raise ConsoleError(f"The connection {queue.connection!r} can't be worked. {queue.lacks['work']} {advice}")


def _names(queues: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in queues.split(",") if name.strip()))
    if not names:
        raise ConsoleError("--queue names no queue.")
    return names


def _pool(kind: PoolKind | None, concurrency: int, *, renews: bool) -> str:
    if kind is None:
        kind = PoolKind.SOLO if concurrency == 1 else PoolKind.PROCESS
    elif kind is PoolKind.SOLO and concurrency > 1:
        raise ConsoleError(
            f"--pool=solo runs one job after the other; for {concurrency} beside each other name another one: "
            f"process, thread or async."
        )
    if renews and kind is not PoolKind.PROCESS:
        raise ConsoleError(
            f"--max-jobs-per-slot and --max-memory-per-slot renew processes, and --pool is {kind}. Leave them out, "
            f"or name --pool=process."
        )
    return kind.value


def _backoff(backoff: str, delay: float) -> tuple[float, ...]:
    try:
        waits = parse_backoff(backoff)
        waits = (delay,) if delay and not any(waits) else waits
        check_waits(waits)
    except ConfigError as error:
        raise ConsoleError(f"--backoff can't be taken. {error}") from error
    return waits


def _nothing() -> None:
    """There are no lines to write."""
