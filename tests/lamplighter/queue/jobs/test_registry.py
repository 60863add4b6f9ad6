"""Which jobs are registered, and what is refused before a worker joins its group."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from lamplighter.container import Container
from lamplighter.errors import ConfigError, UnknownJob
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry


class Model:
    """A row, say."""


class Bare(Job):
    """A job without fields."""

    name = "bare"

    def handle(self) -> None:
        """Nothing to do."""


class Base(Job, ABC):
    """What several jobs share; it is none itself."""

    @abstractmethod
    def handle(self) -> None: ...


@dataclass(frozen=True)
class WithModel(Job):
    """A job with a field that can't travel."""

    model: Model

    def handle(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class WithOwnReading(Job):
    """A job that reads and writes such a field by itself."""

    model: Model

    @classmethod
    def from_data(cls, data: object) -> "WithOwnReading":
        return cls(Model())

    def handle(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Loose(Job):
    """A job with fields that hold anything."""

    anything: Any
    thing: object

    def handle(self) -> None:
        """Nothing to do."""


@pytest.fixture
def registry() -> Registry:
    """An empty one."""
    return Registry(Container())


def job(**policy: object) -> type[Job]:
    """A job with two fields and this policy."""
    body = {"__annotations__": {"first": int, "second": int}, "first": 1, "second": 2, "handle": lambda self: None}
    return dataclass(frozen=True)(type("Made", (Job,), {**body, **policy, "__module__": __name__}))


@pytest.mark.parametrize("cls", [Bare, Loose, WithOwnReading, job(tries=0, timeout=2.5, backoff=[1, 5])])
def test_a_job_is_found_by_its_name_with_or_without_a_method(registry: Registry, cls: type[Job]) -> None:
    registry.register(cls)

    assert registry.find(cls.wire_name()).cls is cls
    assert registry.find(f"{cls.wire_name()}@handle").cls is cls


def test_a_name_that_nobody_registered_is_told_with_those_that_are(registry: Registry) -> None:
    registry.register(Bare)

    with pytest.raises(UnknownJob, match=r"'letter'.*Registered: bare"):
        registry.find("letter")


def test_two_jobs_of_one_name_are_refused(registry: Registry) -> None:
    registry.register(Bare)

    with pytest.raises(ConfigError, match=r"Two jobs are named 'bare': .*Bare and .*Made"):
        registry.register(job(name="bare"))


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"tries": "three"}, "'three' for tries, which takes a whole number"),
        ({"tries": 1.5}, "1.5 for tries"),
        ({"tries": True}, "True for tries"),
        ({"tries": -1}, "-1 for tries"),
        ({"timeout": "60"}, "'60' for timeout, which takes seconds"),
        ({"backoff": "soon"}, "backoff.*'soon'"),
        ({"queue": ["a", "b"]}, r"\['a', 'b'\] for queue, which takes a text"),
        ({"name": 5}, "5 for name"),
        ({"timeout": float("inf")}, "inf for timeout"),
        ({"aliases": ["first"]}, r"\['first'\] for aliases"),
        ({"aliases": {"wire-name": "first"}}, r"an alias for 'wire-name', which is no field.*first, second"),
        ({"aliases": {"first": "second"}}, "two fields that travel as 'second'"),
    ],
)
def test_a_policy_that_makes_no_sense_names_the_class(registry: Registry, policy: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=rf"{__name__}\.Made .*{told}"):
        registry.register(job(**policy))


def bit_by_bit(self: Job, error: Exception | None = None) -> Iterator[int]:
    """Comes to nothing where nobody iterates."""
    yield 1


async def bit_by_bit_later(self: Job, error: Exception | None = None) -> AsyncIterator[int]:
    """The same in an event loop."""
    yield 1


@pytest.mark.parametrize("method", ["handle", "failed"])
@pytest.mark.parametrize("body", [bit_by_bit, bit_by_bit_later])
def test_a_method_that_would_not_run_when_it_is_called_is_refused(
    registry: Registry, method: str, body: Callable[..., object]
) -> None:
    with pytest.raises(ConfigError, match=rf"Made\.{method} is an? (async )?generator.*yield"):
        registry.register(job(**{method: body}))


def test_a_failed_that_does_not_take_the_error_is_refused(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"Made\.failed .*def failed\(self, error\)"):
        registry.register(job(failed=lambda self: None))


def test_a_field_that_cannot_travel_is_refused(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"WithModel has a field that can't travel as JSON: .*Model"):
        registry.register(WithModel)


def test_an_abstract_base_in_a_module_of_jobs_is_none(registry: Registry) -> None:
    module = ModuleType(__name__)
    vars(module).update(Base=Base, Bare=Bare, Imported=int)

    registry.register_modules([module])

    assert registry.names() == ["bare"]


def taking(*bases: type, **attributes: object) -> type[Job]:
    """A job whose `__init__` takes a recipient, as somebody from Laravel would write it."""

    def take(self: Any, recipient: str = "you", *, copies: int = 1) -> None:
        self.recipient = recipient

    body = {"__init__": take, "handle": lambda self: None, "__module__": __name__, **attributes}
    return type("SendLetter", (*bases, Job), body)


def test_what_an_init_takes_would_not_travel(registry: Registry) -> None:
    with pytest.raises(
        ConfigError, match=r"SendLetter takes recipient, copies in an `__init__`.*@dataclass\(frozen=True\)"
    ):
        registry.register(taking())


def test_a_mixins_init_is_one_too(registry: Registry) -> None:
    class Addressed:
        """Shared by several jobs."""

        def __init__(self, recipient: str) -> None:
            self.recipient = recipient

    class SendLetter(Addressed, Job):
        """Takes what its mixin takes."""

        def handle(self) -> None:
            """Nothing to do."""

    with pytest.raises(ConfigError, match="SendLetter takes recipient"):
        registry.register(SendLetter)


def test_reading_without_writing_does_not_make_up_for_an_init(registry: Registry) -> None:
    def from_data(cls: Any, data: Any) -> Any:
        return cls(data.get("recipient"))

    with pytest.raises(ConfigError, match="SendLetter takes recipient"):
        registry.register(taking(from_data=classmethod(from_data)))

    registry.register(taking(from_data=classmethod(from_data), to_data=lambda self: {"recipient": self.recipient}))


def test_an_init_that_takes_nothing_may_be(registry: Registry) -> None:
    class Forwarding:
        """Takes what others take."""

        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)

    class Prepared(Forwarding, Job):
        """Makes itself what it needs."""

        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def handle(self) -> None:
            """Nothing to do."""

    registry.register(Prepared)

    assert registry.get(Prepared.wire_name()) is not None


def test_what_runs_elsewhere_is_not_registered(registry: Registry) -> None:
    cls = job(name="elsewhere", runs_elsewhere=True)
    module = ModuleType(__name__)
    vars(module).update(Elsewhere=cls, Bare=Bare)

    registry.register_modules([module])

    assert registry.names() == ["bare"]
    assert registry.get("elsewhere") is None
    with pytest.raises(ConfigError, match=r"Made says that it `runs_elsewhere`, and is registered"):
        registry.register(cls)


def test_a_name_that_the_framework_uses_itself_is_refused(registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"Made is named 'lamplighter\.claim'"):
        registry.register(job(name="lamplighter.claim"))
