"""Where the jobs of a class go."""

from abc import ABC
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pytest

from lamplighter.config import Repository
from lamplighter.container import Container
from lamplighter.errors import ConfigError
from lamplighter.events import Dispatcher as Events
from lamplighter.queue.dispatching.dispatcher import Dispatcher
from lamplighter.queue.events import JobQueued
from lamplighter.queue.jobs.job import Job
from lamplighter.queue.jobs.registry import Registry
from lamplighter.queue.manager import QueueManager
from tests.lamplighter.queue.conftest import ListQueue


@runtime_checkable
class Loud(Protocol):
    """Jobs that can shout."""

    def shout(self) -> str:
        """The word."""
        ...


class Media(Job, ABC):
    """Jobs about media."""


@dataclass(frozen=True)
class Podcast(Media):
    """One of them."""

    name = "podcast"

    def handle(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class LoudPodcast(Podcast):
    """One that can shout."""

    name = "loud podcast"

    def shout(self) -> str:
        """The word."""
        return "hey"


@dataclass(frozen=True)
class Decided(Podcast):
    """Says itself where it goes."""

    name = "decided"
    queue = "own"
    connection = "own"


class Bench:
    """A dispatcher, and where it has put what."""

    def __init__(self) -> None:
        names = ("default", "redis", "own", "called")
        config = Repository(
            {"queue": {"default": "default", "connections": {name: {"driver": "list"} for name in names}}}
        )
        self.manager = QueueManager(config)
        self.manager.extend("list", lambda name, options: ListQueue(connection=name))
        events = Events()
        self.places: list[tuple[str, str]] = []
        events.listen(JobQueued, lambda event: self.places.append((event.connection, event.queue)))
        registry = Registry(Container())
        registry.register(Podcast, LoudPodcast, Decided)
        self.dispatcher = Dispatcher(self.manager, events, lambda: registry)

    def place_of(self, job: Job, **named: Any) -> tuple[str, str]:
        """Where a job goes."""
        self.dispatcher.dispatch(job, **named)
        return self.places[-1]


@pytest.fixture
def bench() -> Bench:
    """A dispatcher."""
    return Bench()


def test_a_class_goes_where_its_route_leads(bench: Bench) -> None:
    assert bench.place_of(Podcast()) == ("default", "jobs")

    bench.manager.route(Podcast, "podcasts", "redis")

    assert bench.place_of(Podcast()) == ("redis", "podcasts")


def test_the_call_wins_then_the_class_then_the_route(bench: Bench) -> None:
    bench.manager.route(Podcast, queue="podcasts", connection="redis")

    assert bench.place_of(Decided()) == ("own", "own")
    assert bench.place_of(Podcast(), queue="called") == ("redis", "called")
    assert bench.place_of(Podcast(), connection="called") == ("called", "podcasts")


def test_the_nearest_class_wins_and_protocols_come_last(bench: Bench) -> None:
    bench.manager.route({Loud: "loud", Media: ("redis", "media")})

    assert bench.place_of(Podcast()) == ("redis", "media")
    assert bench.place_of(LoudPodcast()) == ("redis", "media")

    bench.manager.route(LoudPodcast, queue="nearest")

    assert bench.place_of(LoudPodcast()) == ("default", "nearest")


def test_a_protocol_routes_what_has_its_shape(bench: Bench) -> None:
    bench.manager.route({Loud: (None, "loud")})

    assert bench.place_of(LoudPodcast()) == ("default", "loud")
    assert bench.place_of(Podcast()) == ("default", "jobs")


class Silent(Protocol):
    """A shape that can't be looked for."""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("podcast", "podcasts"), "takes a class of jobs; 'podcast' is none"),
        (({Podcast: 3},), "3 is neither"),
        (({Podcast: ("a", "b", "c")},), "is neither"),
        (({Podcast: "a"}, "b"), "takes a dictionary alone"),
        ((Silent, "silent"), "put @runtime_checkable above it"),
    ],
)
def test_what_is_no_route_is_refused(bench: Bench, arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bench.manager.route(*arguments)
