"""The queue's part of the application: connections, dispatching, the jobs of app/Jobs, and the commands."""

from functools import partial
from typing import Any

from lamplighter.contracts import Config
from lamplighter.queue.manager import QueueManager
from lamplighter.support.provider import CommandEntry, ServiceProvider

DATABASES = "lamplighter.database.manager:DatabaseManager"
TRANSACTIONS = "lamplighter.database.transactions:Transactions"

COMMANDS = (
    CommandEntry(
        "queue:work", "Start processing jobs on the queue as a daemon", "lamplighter.queue.commands.work:WorkCommand"
    ),
    CommandEntry(
        "queue:listen",
        "Listen to a given queue, for development: the worker starts anew when code changes",
        "lamplighter.queue.commands.listen:ListenCommand",
    ),
    CommandEntry(
        "queue:restart", "Restart workers after their current job", "lamplighter.queue.commands.restart:RestartCommand"
    ),
    CommandEntry(
        "queue:pause", "Pause job processing for a specific queue", "lamplighter.queue.commands.pause:PauseCommand"
    ),
    CommandEntry(
        "queue:resume", "Resume job processing for a paused queue", "lamplighter.queue.commands.resume:ResumeCommand"
    ),
    CommandEntry(
        "queue:continue",
        "Resume job processing for a paused queue",
        "lamplighter.queue.commands.resume:ContinueCommand",
    ),
    CommandEntry(
        "queue:clear",
        "Delete all of the jobs from the specified queue",
        "lamplighter.queue.commands.clear:ClearCommand",
        is_destructive=True,
    ),
    CommandEntry(
        "queue:health",
        "Tell whether the workers of this host are alive",
        "lamplighter.queue.commands.health:HealthCommand",
    ),
    CommandEntry("queue:failed", "List the failed jobs", "lamplighter.queue.commands.failed:FailedCommand"),
    CommandEntry(
        "queue:failed:show",
        "Show one failed job with its payload and its error",
        "lamplighter.queue.commands.failed_show:FailedShowCommand",
    ),
    CommandEntry(
        "queue:retry", "Put failed jobs back onto their queues", "lamplighter.queue.commands.retry:RetryCommand"
    ),
    CommandEntry(
        "queue:forget", "Delete a failed job", "lamplighter.queue.commands.forget:ForgetCommand", is_destructive=True
    ),
    CommandEntry(
        "queue:flush", "Delete all failed jobs", "lamplighter.queue.commands.flush:FlushCommand", is_destructive=True
    ),
    CommandEntry(
        "queue:prune-failed",
        "Delete failed jobs that are older than some hours",
        "lamplighter.queue.commands.prune_failed:PruneFailedCommand",
        is_destructive=True,
    ),
    CommandEntry(
        "queue:prune-claims",
        "Delete old payloads that were put aside",
        "lamplighter.queue.commands.prune_claims:PruneClaimsCommand",
        is_destructive=True,
    ),
    CommandEntry(
        "queue:monitor", "Monitor the size of the specified queues", "lamplighter.queue.commands.monitor:MonitorCommand"
    ),
    CommandEntry(
        "queue:delayed", "List the jobs that are to run later", "lamplighter.queue.commands.delayed:DelayedCommand"
    ),
    CommandEntry(
        "queue:cancel",
        "Cancel a job that is to run later",
        "lamplighter.queue.commands.cancel:CancelCommand",
        is_destructive=True,
    ),
    *(
        CommandEntry(
            name,
            "Create a migration for the table of failed jobs",
            "lamplighter.queue.commands.make_failed_table:MakeFailedTableCommand",
        )
        for name in ("make:queue-failed-table", "queue:failed-table")
    ),
    CommandEntry(
        "queue:background",
        "Run a job that was dispatched on a background connection",
        "lamplighter.queue.commands.background:BackgroundCommand",
        is_hidden=True,
    ),
    *(
        CommandEntry(
            name, "Create a migration for the table of jobs", "lamplighter.queue.commands.make_table:MakeTableCommand"
        )
        for name in ("make:queue-table", "queue:table")
    ),
    CommandEntry("make:job", "Create a job class", "lamplighter.queue.commands.make_job:MakeJobCommand"),
)


class QueueServiceProvider(ServiceProvider):
    """Binds the queue; the parts that need a database or a broker are imported when they are made."""

    def register(self) -> None:
        """Bind what the queue offers."""
        self.app.singleton(QueueManager, self._manager)
        self.app.singleton("lamplighter.queue.dispatching.dispatcher:Dispatcher", self._dispatcher)
        self.app.singleton("lamplighter.queue.jobs.registry:Registry", self._registry)
        self.app.singleton("lamplighter.queue.failed:FailedJobs", self._failed_jobs)
        self.app.singleton("lamplighter.queue.drivers.exiting:AtExit", self._at_exit)
        self.app.extend(DATABASES, self._with_transactions)
        self.commands(*COMMANDS)

    def _manager(self) -> QueueManager:
        from lamplighter.queue.drivers.catalogue import DRIVERS, connector

        manager = QueueManager(self.app.make(Config))
        for driver in DRIVERS:
            manager.extend(driver, partial(connector(driver), self.app))
        return manager

    def _dispatcher(self) -> Any:
        from lamplighter.contracts import Events
        from lamplighter.queue.dispatching.dispatcher import Dispatcher

        queues, events = self.app.make(QueueManager), self.app.make(Events)
        transactions: Any = TRANSACTIONS  # the name of a type
        known = self.app.make(transactions) if self.app.has(TRANSACTIONS) else None
        return Dispatcher(queues, events, self._registered, transactions=known)

    def _with_transactions(self, databases: Any, _: object) -> Any:
        """Let dispatches know of open transactions, where a connection wants to; sessions are slower by that."""
        connections = self.app.make(Config).mapping("queue.connections", {})
        if any(options.get("after_commit") for options in connections.values() if isinstance(options, dict)):
            transactions: Any = TRANSACTIONS
            databases.track(self.app.make(transactions))
        return databases

    def _registered(self) -> Any:
        from lamplighter.queue.jobs.registry import Registry

        return self.app.make(Registry)

    def _registry(self) -> Any:
        from lamplighter.queue.jobs.registry import Registry
        from lamplighter.support.discovery import import_modules

        registry = Registry(self.app)
        folder = self.app.path("app", "Jobs")
        if folder.is_dir():
            registry.register_modules(import_modules("app.Jobs", folder))
        return registry

    def _at_exit(self) -> Any:
        from lamplighter.queue.drivers.exiting import AtExit

        return AtExit()

    def _failed_jobs(self) -> Any:
        from lamplighter.queue.failed.stores import make_failed_jobs

        def manager() -> Any:
            from lamplighter.database.manager import DatabaseManager

            return self.app.make(DatabaseManager)

        return make_failed_jobs(self.app.make(Config).mapping("queue.failed", {}), manager, self.app.path)
