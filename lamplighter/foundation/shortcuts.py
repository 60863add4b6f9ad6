"""The application at hand, for programs that are not built by the container."""

from datetime import UTC, datetime
from typing import Any

from lamplighter import contracts
from lamplighter.errors import ContainerError
from lamplighter.foundation.application import Application
from lamplighter.queue.dispatching.dispatcher import UNSET, Dispatcher, Key
from lamplighter.queue.jobs.job import Job


def app() -> Application:
    """The application that was bootstrapped last.

    Raises:
        ContainerError: none was.
    """
    if Application.current is None:
        raise ContainerError("There is no application yet: call create_app().bootstrap() of bootstrap/app.py first.")
    return Application.current


def config(key: str, default: object = None) -> Any:
    """A setting by its dotted key."""
    return app().make(contracts.Config).get(key, default)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def dispatch(
    job: Job, *, connection: str | None = None, queue: str | None = None, key: Key = UNSET, delay: float = 0
) -> str:
    """Put a job on its queue and return its id when it is safe there.

    Raises:
        InvalidPayload: no worker could read the job, or none knows its class.
        MessageTooLarge: the payload is larger than the queue takes.
        Unavailable: the queue did not acknowledge in time.
    """
    dispatcher: Dispatcher = app().make(Dispatcher)
    return dispatcher.dispatch(job, connection=connection, queue=queue, key=key, delay=delay)
