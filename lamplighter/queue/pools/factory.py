"""The pool that a worker's options name."""

from lamplighter.contracts import Application
from lamplighter.queue.pools.pool import Pool
from lamplighter.queue.worker.options import PoolKind, WorkerOptions
from lamplighter.queue.worker.runner import Runner


def make_pool(app: Application, connection: str, runner: Runner, options: WorkerOptions) -> Pool:
    """A pool that is not open yet; what it needs is imported only here."""
    if options.pool == PoolKind.THREAD:
        from lamplighter.queue.pools.threads import ThreadPool

        return ThreadPool(runner, options.concurrency)
    if options.pool == PoolKind.ASYNC:
        from lamplighter.queue.pools.coroutines import CoroutinePool

        return CoroutinePool(runner, options.concurrency)
    from lamplighter.queue.pools.process.main import command
    from lamplighter.queue.pools.process.pool import LEAVE, ProcessPool, SlotOptions

    return ProcessPool(
        SlotOptions(
            command(app, connection, options.defaults),
            app.base_path,
            options.concurrency,
            options.max_jobs_per_slot,
            options.max_memory_per_slot,
            leave=min(LEAVE, options.shutdown / 4),
        )
    )
