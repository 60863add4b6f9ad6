"""Every error that the framework raises on purpose, as one tree.

LamplighterError
├── ConfigError                 a setting is missing, unknown or of the wrong type
├── ContainerError              something could not be built
│   └── CircularDependency
├── ConsoleError                a command can't go on; its text is all that the user sees
├── CacheError                  a cache can't do what it was asked
│   └── CacheUnavailable        it does not answer
├── LockTimeout                 a lock was not free in time
├── ForkError                   what the parent process has made can't be used in a child that was forked
├── MigrationError              the database is not in the state that a migration needs
├── PayloadError                a message can't become a job; retrying would not help
│   ├── UnreadablePayload
│   ├── ClaimLost
│   ├── UnknownJob
│   └── InvalidData
├── AlreadyDone                 a job has come to its end before, and is not run again
├── JobFailed                   a job has come to its end without success
│   ├── MaxAttemptsExceeded
│   ├── JobTimedOut
│   ├── OrderBlocked
│   ├── SlotDied
│   ├── HandlerError
│   └── ManuallyFailed
└── QueueError                  a queue can't do what it was asked
    ├── InvalidPayload          a job was not dispatched: no worker could read it
    ├── UnsupportedDelay
    ├── MessageTooLarge
    ├── EmbeddedBrokerFull
    └── Unavailable             a service is away for now: wait, count no attempt
        └── BrokerUnavailable

Beside the tree stands SlotTerminated, a SystemExit: no `except Exception` of a job may swallow it.
"""


class LamplighterError(Exception):
    """The root: catch it to catch all that the framework raises on purpose."""


class ConfigError(LamplighterError):
    """A setting is missing, unknown or of the wrong type; the message names the file and the key."""


class ContainerError(LamplighterError):
    """Something could not be built; the message is the chain of what was being built."""


class CircularDependency(ContainerError):
    """Two or more classes need each other to be built; the message names them in order."""


class ConsoleError(LamplighterError):
    """A command can't go on; its message says what to do."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CacheError(LamplighterError):
    """A cache can't do what it was asked."""


class CacheUnavailable(CacheError):
    """The server of a cache does not answer, or its folder can't be used; the message names it."""


class LockTimeout(LamplighterError):
    """A lock was not free in time."""


class ForkError(LamplighterError):
    """What the parent process has made can't be used in a child that was forked from it; the message says what can."""


class MigrationError(LamplighterError):
    """The database is not in the state that a migration needs."""


class PayloadError(LamplighterError):
    """A message can't become a job. It fails at once: another attempt would read the same bytes."""


class UnreadablePayload(PayloadError):
    """The bytes are no payload: empty, too large, nested too deep, not JSON, or not of a payload's shape."""


class ClaimLost(PayloadError):
    """The payload was put aside, being large, and is not where the message says."""


class UnknownJob(PayloadError):
    """The payload names a job that this application has not registered."""


class InvalidData(PayloadError):
    """The data of a payload does not fit the fields of its job; the message names the field."""


class AlreadyDone(LamplighterError):
    """A record of a job has come again whose payload was put aside, and the job is done: it is passed over."""


class JobFailed(LamplighterError):
    """A job has come to its end without success."""


class MaxAttemptsExceeded(JobFailed):
    """A job was started as often as it may be, and did not come to an end."""


class JobTimedOut(JobFailed):
    """A job ran longer than its timeout."""


class OrderBlocked(JobFailed):
    """A job that is tried again and again has made those behind it wait for too long."""


class SlotDied(JobFailed):
    """The process that a job ran in has ended under it."""


class HandlerError(JobFailed):
    """A handler or a listener has returned what can't be understood, or is still to be run; the message says which."""


class ManuallyFailed(JobFailed):
    """A handler failed its own job without giving an error."""


class QueueError(LamplighterError):
    """A queue can't do what it was asked.

    Attributes:
        of_job: a job has raised it that was run in its dispatch: it says nothing of the connection.
    """

    of_job = False


class InvalidPayload(QueueError):
    """A job was not dispatched, since no worker could read it; the message names its class and the field."""


class UnsupportedDelay(QueueError):
    """A job can't be held back: its delay is no number of seconds, or longer than its connection keeps jobs."""


class MessageTooLarge(QueueError):
    """A message is larger than its queue takes; the message names the size and the limit.

    Attributes:
        size, limit: what it has and what the queue takes, in bytes; None where only the brokers know.
    """

    def __init__(self, message: str, *, size: int | None = None, limit: int | None = None) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class EmbeddedBrokerFull(QueueError):
    """The embedded broker would have to drop jobs that nobody has read."""


class Unavailable(QueueError):
    """A service that a job needs is away for now. The job waits in its place, and no attempt is counted."""


class BrokerUnavailable(Unavailable):
    """The brokers did not acknowledge in time; the message names them."""


class SlotTerminated(SystemExit):
    """The worker ends the process of a slot, and the job in it; a job meets it as any SystemExit.

    It is not the job's own doing: nothing in the slot settles the job, the worker does.
    """
