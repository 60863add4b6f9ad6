"""Builds objects from the annotations of their constructors; signatures are read once."""

import copy
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lamplighter.errors import CircularDependency, ContainerError
from lamplighter.support.forking import watch
from lamplighter.support.needs import MISSING, Need, read_needs
from lamplighter.support.unrun import refuse_lazy_function, refuse_unrun

T = TypeVar("T")
Key = type[Any] | str

BOUND = ("_bindings", "_instances", "_aliases", "_extenders", "_tags", "_contextual")
MOST_PLANS = 10_000  # functions that are remembered with what they need: a program may call new ones without end


@dataclass(frozen=True, slots=True)
class Binding:
    """How a key is built, and how long what is built lives."""

    factory: Callable[..., Any]
    life: str  # "new", "single", "scope"
    end: Callable[[Any], object] | None = None


class Container:
    """Keys are types; a string may be an alias, or name a type as `module:Name` that is not imported yet."""

    def __init__(self) -> None:
        self._bindings: dict[Key, Binding] = {}
        self._instances: dict[Key, Any] = {}
        self._aliases: dict[Key, Key] = {}
        # In their order, by the name that was asked for: what it stands for may be bound later.
        self._extenders: list[tuple[Key, Callable[[Any, Any], Any]]] = []
        self._tags: dict[str, list[Key]] = {}
        self._contextual: dict[tuple[Key, Any], Callable[[], Any]] = {}
        self._plans: dict[Any, tuple[Need, ...]] = {}
        self._resolved: dict[Key, Key] = {}
        self._scope: ContextVar[dict[Key, Any] | None] = ContextVar("lamplighter_scope", default=None)
        self._building: ContextVar[tuple[Any, ...]] = ContextVar("lamplighter_building", default=())
        self._lock = threading.RLock()
        watch(self, in_child=Container._begin_as_child, locks=lambda container: (container._lock,))

    # binding ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def bind(self, key: type[T] | str, factory: Callable[..., T] | None = None) -> None:
        """Build anew each time."""
        self._bind(key, factory, "new")

    def singleton(self, key: type[T] | str, factory: Callable[..., T] | None = None) -> None:
        """Build once."""
        self._bind(key, factory, "single")

    def scoped(
        self, key: type[T] | str, factory: Callable[..., T] | None = None, *, end: Callable[[T], object] | None = None
    ) -> None:
        """Build once for each job; `end`, which is not async, is called with it when the job is over."""
        if end is not None:
            refuse_lazy_function(end, f"What ends {_name(key)}", ContainerError)
        self._bind(key, factory, "scope", end)

    def instance(self, key: type[T] | str, value: T) -> T:
        """Give this very object."""
        self._instances[key] = value
        self._bindings.pop(key, None)
        self._aliases.pop(key, None)
        self._resolved = {}
        return value

    def alias(self, key: Key, name: Key) -> None:
        """Let `name` stand for `key`.

        Raises:
            ContainerError: a key can't stand for itself.
        """
        step = key
        while step != name and step in self._aliases:
            step = self._aliases[step]
        if step == name:
            raise ContainerError(f"{_name(key)} can't be an alias of itself.")
        self._aliases[name] = key
        self._instances.pop(name, None)
        self._resolved = {}

    def extend(self, key: type[T] | str, decorate: Callable[[T, "Container"], T]) -> None:
        """Pass what is built for a key through `decorate`, and what was built already."""
        found = self._resolve(key)
        if found in self._instances:
            self._instances[found] = decorate(self._instances[found], self)
        else:
            self._extenders.append((key, decorate))

    def checkpoint(self) -> Callable[[], None]:
        """A function that takes back whatever is bound, extended or tagged from now on."""
        kept = {name: copy.copy(vars(self)[name]) for name in BOUND}
        return lambda: vars(self).update(kept, _resolved={})

    def tag(self, keys: Iterable[Key], tag: str) -> None:
        """Put keys under a common word."""
        self._tags[tag] = [*self._tags.get(tag, ()), *keys]

    def tagged(self, tag: str) -> list[Any]:
        """What is built for every key under a word."""
        return [self.make(key) for key in self._tags.get(tag, [])]

    def when(self, cls: type) -> "Contextual":
        """Begin `when(A).needs(B).give(c)`: what A is given for B."""
        return Contextual(self, self._contextual, cls)

    def has(self, key: Key) -> bool:
        """Whether a key was bound."""
        key = self._resolve(key)
        return key in self._bindings or key in self._instances

    def _bind(self, key: Key, factory: Callable[..., Any] | None, life: str, end: Any = None) -> None:
        if factory is None:
            if isinstance(key, str):
                raise ContainerError(f"{key!r} is bound without a factory; a string does not say how it is built.")
            factory = key
        self._instances.pop(key, None)
        self._aliases.pop(key, None)
        self._bindings[key] = Binding(factory, life, end)
        self._resolved = {}

    # building ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def make(self, key: Any, /, **parameters: object) -> Any:
        """What a key stands for; with parameters it is built anew, whatever its life.

        Raises:
            ContainerError: it can't be built; the message is the chain of what was being built.
        """
        found = self._instances.get(key)
        if found is not None and not parameters:
            return found
        key = self._resolve(key)
        if not parameters:
            if key in self._instances:
                return self._instances[key]
            scope = self._scope.get()
            if scope is not None and key in scope:
                return scope[key]
        binding = self._bindings.get(key)
        if parameters or binding is None or binding.life == "new":
            return self._build(key, binding, parameters)
        if binding.life == "scope":
            return self._build_scoped(key, binding)
        with self._lock:
            if key not in self._instances:
                self._instances[key] = self._build(key, binding, {})
            return self._instances[key]

    def call(self, callback: Callable[..., T], /, **parameters: object) -> T:
        """Call a function with what its annotations ask for; named parameters win."""
        function = getattr(callback, "__func__", callback)
        skip = 1 if function is not callback else 0
        needs = self._needs(function)[skip:]
        return callback(**self._arguments(needs, parameters, callback))

    def invoker(self, function: Callable[..., T], *, leading: int = 0, given: Sequence[type] = ()) -> "BoundInvoker[T]":
        """A caller of `function` whose signature is read now; see contracts.Invoker."""
        needs = self._needs(function)[leading:]
        return BoundInvoker(self, function, needs, leading, tuple(given))

    @property
    def scope(self) -> ContextVar[dict[Key, Any] | None]:
        """Where that is kept which was built for the job at hand: None, or empty, while nothing was."""
        return self._scope

    def end_scope(self) -> None:
        """Forget what was built for this job, the newest first; an end that raises does not keep back the others."""
        scope = self._scope.get()
        if not scope:
            return
        self._scope.set(None)
        built = list(scope.items())
        scope.clear()  # the context that this one is a copy of may have it, too
        with ExitStack() as ends:
            for key, value in built:
                binding = self._bindings.get(key)
                if binding is not None and binding.end is not None:
                    ends.callback(_end, key, binding.end, value)

    def _begin_as_child(self) -> None:
        """Leave what was built for the job at hand to the parent, which ends it."""
        self._lock = threading.RLock()
        scope = self._scope.get()
        if scope:
            from lamplighter.support.immortal import keep_for_ever  # in a worker the database has imported it

            keep_for_ever(dict(scope))
            scope.clear()

    def _build_scoped(self, key: Key, binding: Binding) -> Any:
        value = self._build(key, binding, {})
        scope = self._scope.get()
        if scope is None:
            scope = {}
            self._scope.set(scope)
        scope[key] = value
        return value

    def _build(self, key: Key, binding: Binding | None, parameters: dict[str, object]) -> Any:
        chain = self._building.get()
        if key in chain:
            circle = " → ".join(_name(step) for step in (*chain[chain.index(key) :], key))
            raise CircularDependency(
                f"These need each other: {circle}. Give one of them a factory, or take a need away."
            )
        token = self._building.set((*chain, key))
        try:
            factory = binding.factory if binding is not None else self._constructor(key)
            value = factory(**self._arguments(self._needs(factory), parameters, key))
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # by a line of the factory's own
            why = f"{_name(factory)} can't be called with what its annotations ask for: {error}"
            raise ContainerError(self._told(why)) from error
        finally:
            self._building.reset(token)
        for name, decorate in self._extenders:
            if self._resolve(name) == key:
                value = decorate(value, self)
        return value

    def _constructor(self, key: Key) -> Callable[..., Any]:
        if isinstance(key, str):
            raise ContainerError(self._told(f"nothing is bound under {key!r}. Bind it in a service provider"))
        if inspect.isabstract(key) or getattr(key, "_is_protocol", False):
            raise ContainerError(self._told(f"{_name(key)} is only a shape, and nothing is bound for it"))
        return key

    def _arguments(self, needs: Iterable[Need], parameters: dict[str, object], owner: Any) -> dict[str, Any]:
        arguments = dict(parameters)
        for need in needs:
            if need.name not in arguments:
                value = self._resolve_need(need, owner)
                if value is not MISSING:
                    arguments[need.name] = value
        return arguments

    def _resolve_need(self, need: Need, owner: Any) -> Any:
        if self._contextual and isinstance(owner, type | str):
            for asked in (f"${need.name}", *need.kinds):
                give = self._contextual.get((owner, asked))
                if give is not None:
                    return give()
        for kind in need.kinds:
            if self._is_buildable(kind, need):
                return self.make(kind)
        if need.default is not MISSING:
            return MISSING
        if need.allows_none:
            return None
        if not need.kinds:
            why = f"needs {need.name}, which has no annotation. Write its type behind it, or give it a default"
        else:
            kinds = " | ".join(map(_name, need.kinds))
            why = f"needs {need.name}: {kinds}. Bind it in a service provider, or give it a default"
        raise ContainerError(self._told(f"{_name(owner)} {why}"))

    def _is_buildable(self, kind: Any, need: Need) -> bool:
        if self.has(kind):
            return True
        # A path, a number or a lock that is made of nothing is not the one that was meant.
        if not isinstance(kind, type) or kind.__module__.partition(".")[0] in sys.stdlib_module_names:
            return False
        # What is optional is given only when somebody has bound it.
        return need.default is MISSING and not need.allows_none

    def _needs(self, function: Callable[..., Any]) -> tuple[Need, ...]:
        try:
            plan = self._plans.get(function)
        except TypeError:  # it has no hash, as an instance of a dataclass
            return self._read_needs(function)
        if plan is None:
            plan = self._read_needs(function)
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[function] = plan
        return plan

    def _read_needs(self, function: Callable[..., Any]) -> tuple[Need, ...]:
        try:
            return read_needs(function)
        except (ValueError, TypeError, NameError) as error:
            why = f"{_name(function)} has annotations that can't be read: {error}"
            raise ContainerError(self._told(why)) from error

    def _resolve(self, key: Key) -> Key:
        # What is bound meanwhile begins with an empty dictionary, so that an old answer goes where nobody looks.
        resolved = self._resolved
        found = resolved.get(key)
        if found is None:
            found = resolved[key] = self._find(key)
        return found

    def _find(self, key: Key) -> Key:
        while key in self._aliases:
            key = self._aliases[key]
        if isinstance(key, type) and key not in self._bindings and key not in self._instances:
            named = _by_module(key)
            if named in self._bindings or named in self._instances:
                return named
        return key

    def _told(self, why: str) -> str:
        chain = " → ".join(_name(step) for step in self._building.get())
        return f"{why}." if not chain else f"Building {chain}: {why}."


class Contextual:
    """The middle of `when(A).needs(B).give(c)`."""

    def __init__(self, container: Container, rules: dict[tuple[Key, Any], Callable[[], Any]], cls: type) -> None:
        self._container = container
        self._rules = rules
        self._cls = cls
        self._kind: Any = None

    def needs(self, kind: Any) -> "Contextual":
        """The type that is asked for, or `$name`: the parameter of that name."""
        self._kind = kind
        return self

    def give(self, value: object) -> None:
        """What is given: a value, a class that the container makes, or a function that it calls."""
        for owner in (self._cls, _by_module(self._cls)):  # it may be bound by its name
            self._rules[owner, self._kind] = _giver(self._container, value)


class BoundInvoker(Generic[T]):
    """A function with its plan: positional arguments, then one value for each given type."""

    __slots__ = ("_container", "_function", "_given", "_leading", "_needs", "needs")

    def __init__(
        self,
        container: Container,
        function: Callable[..., T],
        needs: tuple[Need, ...],
        leading: int,
        given: tuple[type, ...],
    ) -> None:
        self._container = container
        self._function = function
        self._leading = leading
        self._needs: list[tuple[Need, int]] = [(need, _place(need, given)) for need in needs]
        self._given = given
        self.needs = frozenset(given[place] for _, place in self._needs if place >= 0)

    def __call__(self, *arguments: object) -> T:
        leading = self._leading
        if not self._needs:
            return self._function(*(arguments if len(arguments) == leading else arguments[:leading]))
        values = {}
        for need, place in self._needs:
            if place >= 0:
                values[need.name] = arguments[leading + place]
                continue
            value = self._container._resolve_need(need, self._function)
            if value is not MISSING:
                values[need.name] = value
        return self._function(*arguments[:leading], **values)


def _by_module(key: type) -> str:
    return f"{key.__module__}:{key.__qualname__}"


def _end(key: Key, end: Callable[[Any], object], value: object) -> None:
    if (returned := end(value)) is not None:
        refuse_unrun(returned, f"What ends {_name(key)}", ContainerError)


def _giver(container: Container, value: Any) -> Callable[[], Any]:
    if isinstance(value, type):
        return lambda: container.make(value)
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        return lambda: container.call(value)
    return lambda: value


def _place(need: Need, given: tuple[type, ...]) -> int:
    return next((given.index(kind) for kind in need.kinds if kind in given), -1)


def _name(key: Any) -> str:
    if isinstance(key, str):
        return repr(key)
    return getattr(key, "__qualname__", None) or getattr(key, "__name__", None) or str(key)
