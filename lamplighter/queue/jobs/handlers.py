"""How a class with `handle_many` is called: with one job, or with many."""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from lamplighter.contracts import Container, Delivery, Invoker
from lamplighter.errors import HandlerError
from lamplighter.queue.jobs.job import Job
from lamplighter.support.unrun import finish, is_awaitable

Errors = Sequence[BaseException | None]


class Call(Protocol):
    """The jobs of one call, in their order; what has become of them is put into `errors`."""

    errors: Errors

    def jobs(self) -> list[Any]: ...
    def deliveries(self) -> list[Delivery]: ...


class ManyAtOnce:
    """`handle_many` with all jobs of a Call, which stands in the place of the job."""

    def __init__(self, container: Container, cls: type[Job]) -> None:
        function: Any = cls.handle_many  # type: ignore[attr-defined]
        self._name = f"{cls.__module__}.{cls.__qualname__}.handle_many"
        self._invoke: Invoker[object] = container.invoker(function, leading=1, given=(Sequence[Delivery],))
        self.needs = self._invoke.needs

    def __call__(self, *arguments: Any) -> Awaitable[None] | None:
        """Handle the jobs of a call; what comes back is to be awaited, where the handler is async."""
        call: Call = arguments[0]
        result = self._invoke(call.jobs(), call.deliveries() if self.needs else None)
        if is_awaitable(result):
            return self._awaited(call, result)
        call.errors = self._errors(call, result)
        return None

    async def _awaited(self, call: Call, work: Awaitable[object]) -> None:
        call.errors = self._errors(call, await finish(work))

    def _errors(self, call: Call, result: Any) -> Errors:
        if result is None:
            return ()
        expected = len(call.jobs())
        if isinstance(result, Sequence) and len(result) == expected and all(map(_is_error, result)):
            return result
        raise HandlerError(
            f"{self._name} has returned {type(result).__name__}; it returns None where all jobs are done, else a list "
            f"with the error of each job, or None, in their order: {expected} of them here."
        )


class OneOfMany:
    """`handle_many` with one job, in the place of `handle`."""

    def __init__(self, many: ManyAtOnce) -> None:
        self._many = many
        self.needs: frozenset[type] = frozenset({Delivery} if many.needs else ())

    def __call__(self, *arguments: Any) -> object:
        """Handle the job; the error that is returned for it is raised."""
        job, delivery = arguments
        call = _One(job, delivery)
        result = self._many(call)
        if result is not None:
            return self._awaited(call, result)
        call.raise_error()
        return None

    async def _awaited(self, call: "_One", result: Awaitable[None]) -> None:
        await result
        call.raise_error()


class _One:
    """A call with one job."""

    def __init__(self, job: Job, delivery: Delivery) -> None:
        self.errors: Errors = ()
        self._job = job
        self._delivery = delivery

    def jobs(self) -> list[Any]:
        return [self._job]

    def deliveries(self) -> list[Delivery]:
        return [self._delivery]

    def raise_error(self) -> None:
        for error in self.errors:
            if error is not None:
                raise error


def _is_error(value: object) -> bool:
    return value is None or isinstance(value, BaseException)
