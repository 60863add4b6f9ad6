"""What the container builds, and what it says when it can't."""

import functools
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from lamplighter.container import Container
from lamplighter.errors import CircularDependency, ContainerError
from tests.programs import run


class Mailer:
    """Needs nothing."""


class Smtp(Mailer):
    """Another mailer."""


class Letters:
    """Needs a mailer."""

    def __init__(self, mailer: Mailer, copies: int = 1) -> None:
        self.mailer = mailer
        self.copies = copies


class Chicken:
    """Needs an egg."""

    def __init__(self, egg: "Egg") -> None:
        self.egg = egg


class Egg:
    """Needs a chicken."""

    def __init__(self, chicken: Chicken) -> None:
        self.chicken = chicken


class Shape(Protocol):
    """Only a shape."""

    def area(self) -> float: ...


class Half(ABC):
    """Half a class."""

    @abstractmethod
    def other(self) -> None: ...


class Drawing:
    """Needs a shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


@pytest.fixture
def container() -> Container:
    """An empty one."""
    return Container()


def test_a_class_is_built_with_what_its_constructor_asks_for(container: Container) -> None:
    letters = container.make(Letters)

    assert isinstance(letters.mailer, Mailer)
    assert letters.copies == 1


def test_a_singleton_is_built_once_and_a_binding_each_time(container: Container) -> None:
    container.singleton(Mailer)
    container.bind(Letters)

    first, second = container.make(Letters), container.make(Letters)

    assert first is not second
    assert first.mailer is second.mailer


def test_parameters_build_anew_beside_the_singleton(container: Container) -> None:
    container.singleton(Letters)
    shared = container.make(Letters)

    own = container.make(Letters, copies=7)

    assert (own.copies, container.make(Letters) is shared, own is shared) == (7, True, False)


def test_a_parameter_may_be_named_as_ours_are(container: Container) -> None:
    class Row:
        def __init__(self, key: str, callback: str = "") -> None:
            self.words = (key, callback)

    assert container.make(Row, key="k").words == ("k", "")
    assert container.call(Row, key="k", callback="c").words == ("k", "c")


def make_letters(mailer: Mailer, copies: int) -> Letters:
    """A factory with a number that somebody has to give."""
    return Letters(mailer, copies)


class LettersFactory:
    """A factory that is an object."""

    def __call__(self, mailer: Mailer) -> Letters:
        """Seven copies."""
        return Letters(mailer, 7)


@pytest.mark.parametrize("factory", [functools.partial(make_letters, copies=7), LettersFactory()])
def test_a_factory_may_be_a_partial_or_an_object(container: Container, factory: Callable[..., Letters]) -> None:
    container.singleton(Letters, factory)

    assert (container.make(Letters).copies, container.call(factory).copies) == (7, 7)


def test_rebinding_forgets_what_was_built(container: Container) -> None:
    container.singleton(Mailer)
    old = container.make(Mailer)

    container.singleton(Mailer)

    assert container.make(Mailer) is not old


def test_an_alias_and_a_type_that_is_named_before_it_is_imported(container: Container) -> None:
    container.singleton(f"{__name__}:Mailer", Mailer)
    container.alias(Mailer, "mailer")

    assert container.make("mailer") is container.make(Mailer)


def test_what_is_bound_later_is_found_though_it_was_asked_for_before(container: Container) -> None:
    plain = container.make(Mailer)

    container.singleton(f"{__name__}:Mailer", Mailer)
    named = container.make(Mailer)
    mine = container.instance(Mailer, Mailer())

    assert named is not plain
    assert container.make(Mailer) is mine is not named


def test_an_alias_of_itself_is_refused(container: Container) -> None:
    container.alias(Mailer, "mailer")
    container.alias("mailer", "post")

    with pytest.raises(ContainerError, match="itself"):
        container.alias(Mailer, Mailer)
    with pytest.raises(ContainerError, match="itself"):
        container.alias("post", Mailer)


def test_what_is_bound_under_an_alias_takes_its_place(container: Container) -> None:
    container.alias(Mailer, "mailer")
    container.alias(Mailer, "post")

    container.bind("mailer", lambda: 1)
    container.instance("post", 2)

    assert (container.make("mailer"), container.make("post"), container.has(Mailer)) == (1, 2, False)


def test_extending_decorates_what_will_be_and_what_was_built(container: Container) -> None:
    container.singleton(Letters)
    container.extend(Letters, lambda letters, _: Letters(letters.mailer, letters.copies + 1))
    before = container.make(Letters).copies

    container.extend(Letters, lambda letters, _: Letters(letters.mailer, letters.copies + 1))

    assert (before, container.make(Letters).copies) == (2, 3)


def test_tags_collect(container: Container) -> None:
    container.tag([Mailer, Letters], "post")

    assert [type(one) for one in container.tagged("post")] == [Mailer, Letters]


def test_contextual_needs(container: Container) -> None:
    special = Mailer()
    container.when(Letters).needs(Mailer).give(special)

    assert container.make(Letters).mailer is special
    assert container.make(Mailer) is not special


def test_a_contextual_class_or_function_is_given_what_it_needs(container: Container) -> None:
    class Office:
        def __init__(self, letters: Letters) -> None:
            self.letters = letters

    container.singleton(Mailer)

    container.when(Office).needs(Letters).give(Letters)
    by_class = container.make(Office).letters
    container.when(Office).needs(Letters).give(lambda: Letters(container.make(Mailer), 2))
    by_function = container.make(Office).letters

    assert (by_class.mailer, by_class.copies, by_function.copies) == (container.make(Mailer), 1, 2)


def test_a_contextual_need_may_be_a_parameter_by_its_name(container: Container) -> None:
    class Server:
        def __init__(self, host: str, user: str, port: int = 25) -> None:
            self.words = (host, user, port)

    container.when(Server).needs("$host").give("mail")
    container.when(Server).needs("$user").give("ann")
    container.when(Server).needs("$port").give(2525)

    assert container.make(Server).words == ("mail", "ann", 2525)


def test_a_scope_ends_whole_though_one_of_its_ends_raises(container: Container) -> None:
    ended: list[object] = []

    def fail(_: Letters) -> None:
        raise ConnectionError("gone")

    container.scoped(Mailer, end=ended.append)
    container.scoped(Letters, end=fail)
    mailer = container.make(Letters).mailer

    with pytest.raises(ConnectionError):
        container.end_scope()

    assert ended == [mailer]
    assert container.make(Mailer) is not mailer


def test_a_scope_ends_what_was_bound_anew_meanwhile(container: Container) -> None:
    container.scoped(Mailer, end=lambda _: None)
    container.make(Mailer)
    container.instance(Mailer, Mailer())

    container.end_scope()


async def later(_: object) -> None:
    """Comes to nothing where nobody awaits it."""


def test_an_end_that_would_not_run_is_refused(container: Container) -> None:
    with pytest.raises(ContainerError, match="What ends Mailer is async"):
        container.scoped(Mailer, end=later)


def test_an_end_that_returns_its_work_is_an_error(container: Container) -> None:
    container.scoped(Mailer, end=lambda mailer: later(mailer))
    container.make(Mailer)

    with pytest.raises(ContainerError, match="What ends Mailer has returned a coroutine"):
        container.end_scope()


def test_a_scope_ends_in_reverse_order_and_begins_anew(container: Container) -> None:
    ended: list[object] = []
    container.scoped(Mailer, end=ended.append)
    container.scoped(Letters, end=ended.append)
    letters = container.make(Letters)

    container.end_scope()

    assert ended == [letters, letters.mailer] or ended == [letters.mailer, letters]
    assert container.make(Letters) is not letters


def test_each_thread_has_a_scope_of_its_own(container: Container) -> None:
    container.scoped(Mailer)
    mine = container.make(Mailer)
    theirs: list[Mailer] = []

    thread = threading.Thread(target=lambda: theirs.append(container.make(Mailer)))
    thread.start()
    thread.join()

    assert theirs[0] is not mine


def test_a_call_is_given_what_its_annotations_ask_for(container: Container) -> None:
    def handle(greeting: str, mailer: Mailer, shape: Shape | None, times: int = 2) -> tuple[object, ...]:
        return greeting, type(mailer), shape, times

    assert container.call(handle, greeting="hello") == ("hello", Mailer, None, 2)


def test_an_invoker_takes_leading_arguments_and_given_types(container: Container) -> None:
    class Job:
        def handle(self, mailer: Mailer, egg: Chicken) -> tuple[object, ...]:
            return self, mailer, egg

    job, chicken = Job(), object()
    invoke = container.invoker(Job.handle, leading=1, given=(Egg, Chicken))

    found = invoke(job, None, chicken)

    assert (found[0], type(found[1]), found[2]) == (job, Mailer, chicken)
    assert invoke.needs == {Chicken}


def test_what_is_missing_is_told_with_the_chain(container: Container) -> None:
    class Letter:
        def __init__(self, text: str) -> None:
            self.text = text

    class Office:
        def __init__(self, letter: Letter) -> None:
            self.letter = letter

    with pytest.raises(ContainerError, match=r"Office → .*Letter: .*Letter needs text: str.*Bind it"):
        container.make(Office)


def test_annotations_that_cannot_be_read_are_told_with_the_chain(container: Container) -> None:
    class Letter:
        def __init__(self, text: "NoSuchClass") -> None:  # type: ignore[name-defined]  # noqa: F821
            self.text = text

    class Office:
        def __init__(self, letter: Letter) -> None:
            self.letter = letter

    with pytest.raises(ContainerError, match=r"Building .*Office → .*Letter: .*'NoSuchClass' is not defined"):
        container.make(Office)


def test_a_parameter_without_an_annotation_is_told(container: Container) -> None:
    container.bind(Letters, lambda app: Letters(app.make(Mailer)))

    with pytest.raises(ContainerError, match="needs app, which has no annotation"):
        container.make(Letters)


@pytest.mark.parametrize("wanted", [Drawing, Half])
def test_a_shape_without_a_binding_is_told(container: Container, wanted: type) -> None:
    with pytest.raises(ContainerError, match="only a shape"):
        container.make(wanted)


def test_a_circle_is_told_in_order(container: Container) -> None:
    with pytest.raises(CircularDependency, match="Chicken → Egg → Chicken"):
        container.make(Chicken)


def test_an_unknown_word_is_told(container: Container) -> None:
    with pytest.raises(ContainerError, match="'nothing'"):
        container.make("nothing")


def test_threads_build_one_singleton(container: Container) -> None:
    barrier = threading.Barrier(8)
    container.singleton(Mailer)
    found: list[Mailer] = []

    def run() -> None:
        barrier.wait()
        found.append(container.make(Mailer))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(map(id, found))) == 1


def test_a_child_makes_what_another_thread_was_building_at_the_fork() -> None:
    said = run(
        """
from lamplighter.container import Container

class Mailer:
    def __init__(self):
        self.letters = []
        building.set()
        time.sleep(0.3)
        self.letters.append("first")

building, container = threading.Event(), Container()
container.singleton(Mailer)
thread = threading.Thread(target=container.make, args=(Mailer,))
thread.start()
building.wait()
child = os.fork()
if child == 0:
    os._exit(0 if container.make(Mailer).letters == ["first"] else 1)
thread.join()
print(outcome(child), container.make(Mailer).letters)
"""
    )

    assert said == "0 ['first']\n"


def test_a_child_does_not_end_what_was_built_for_its_parents_job() -> None:
    said = run(
        """
from lamplighter.container import Container

class Session:
    ended = 0
    def end(self):
        self.ended += 1

container = Container()
container.scoped(Session, end=Session.end)
session = container.make(Session)
child = os.fork()
if child == 0:
    own = container.make(Session)
    container.end_scope()
    os._exit(0 if (own is session, own.ended, session.ended) == (False, 1, 0) else 1)
print(outcome(child))
container.end_scope()
print(session.ended)
"""
    )

    assert said == "0\n1\n"


NAME_OF_LETTERS = f"{Letters.__module__}:{Letters.__qualname__}"


def test_an_alias_takes_the_place_of_what_stood_under_its_name() -> None:
    container = Container()
    container.instance(Mailer, Mailer())
    other = container.instance(Smtp, Smtp())

    container.alias(Smtp, Mailer)

    assert container.make(Mailer) is other


@pytest.mark.parametrize(
    "bind",
    [
        lambda container: container.singleton(NAME_OF_LETTERS, Letters),
        lambda container: (container.bind("letters", Letters), container.alias("letters", Letters)),
    ],
    ids=["by its name", "by an alias"],
)
def test_what_is_extended_may_be_bound_later_under_another_name(bind: Callable[[Container], object]) -> None:
    container = Container()

    container.extend(Letters, lambda letters, container: Letters(letters.mailer, copies=7))
    bind(container)

    assert container.make(Letters).copies == 7


def test_what_one_class_is_given_holds_where_it_is_bound_by_its_name() -> None:
    container = Container()
    container.singleton(NAME_OF_LETTERS, Letters)
    other = Smtp()

    container.when(Letters).needs(Mailer).give(lambda: other)

    assert container.make(Letters).mailer is other


@pytest.mark.parametrize("kind", [Path, Decimal, timedelta, threading.Event, Any])
def test_nothing_of_the_standard_library_is_made_up(kind: type) -> None:
    def needs(value: object) -> object:
        return value

    needs.__annotations__["value"] = kind

    with pytest.raises(ContainerError, match=f"needs value: {kind.__name__}. Bind it"):
        Container().call(needs)

    container = Container()
    bound = container.instance(kind, object())
    assert container.call(needs) is bound


class Pair(NamedTuple):
    """Two numbers that nobody gives."""

    left: int
    right: int


class Placed:
    """Takes no name for what it needs."""

    def __init__(self, mailer: Mailer, /) -> None:
        self.mailer = mailer


class Wrong:
    """Breaks by itself."""

    def __init__(self) -> None:
        raise TypeError("mine")


@pytest.mark.parametrize("kind", [Pair, Placed])
def test_what_can_not_be_called_so_is_named(kind: type) -> None:
    with pytest.raises(ContainerError, match=rf"Building {kind.__name__}: {kind.__name__} can't be called"):
        Container().make(kind)


def test_an_error_of_a_constructors_own_stays_as_it_is() -> None:
    with pytest.raises(TypeError, match="mine"):
        Container().make(Wrong)


@dataclass
class Sends:
    """Can be called, and has no hash."""

    copies: int = 1

    def __call__(self, mailer: Mailer) -> Mailer:
        return mailer


def test_whatever_can_be_called_may_be_without_a_hash() -> None:
    assert isinstance(Container().call(Sends()), Mailer)


def test_functions_that_are_called_once_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter.container.MOST_PLANS", 10)
    container = Container()
    first = functools.partial(Sends())
    gone = weakref.ref(first)
    container.call(first)
    del first

    for _ in range(10):
        container.call(functools.partial(Sends()))

    assert gone() is None
