"""The files of a folder of migrations: read, checked, and in the order in which they run."""

import heapq
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lamplighter.errors import MigrationError

# The framework's own: these two, whose names are older than the prefix, and each that begins with it.
OWN = frozenset({"2026_11_24_000000", "2026_11_25_000000"})
OWN_PREFIX = "lamplighter_"

# What a file may end with while it is read or run: `sys.exit()` in one would end the command without a word.
ENDS = (Exception, SystemExit)


@dataclass(frozen=True, slots=True, eq=False)
class Revision:
    """One file; `parents` are the revisions of the folder that have to be applied before it."""

    id: str
    path: Path
    parents: tuple[str, ...]
    module: ModuleType

    @property
    def name(self) -> str:
        """The file's name without `.py`."""
        return self.path.stem


def is_own(id: str) -> bool:
    """Whether a revision is the framework's own, which a project may remove, and add again."""
    return id in OWN or id.startswith(OWN_PREFIX)


def read(folder: Path) -> list[Revision]:
    """The migrations of a folder, sorted by the names of their files, but each after those that it needs.

    Raises:
        MigrationError: a file can't be read, or they do not fit together; the message names the files.
    """
    paths = sorted(path for path in folder.glob("*.py") if not path.name.startswith((".", "__init__")))
    files = [(path, _load(path)) for path in paths]
    ids = _distinct([(path, _id(path, module)) for path, module in files])
    found = {}
    for path, module in files:
        parents = _parents(path, module, ids)
        found[ids[path]] = Revision(ids[path], path, parents, module)
    return _in_order(found)


def reason(error: BaseException) -> str:
    """What an error says, in one line; without the statement that SQLAlchemy adds and the page that it recommends."""
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}".removesuffix(": ").rstrip(".?")


def _load(path: Path) -> ModuleType:
    if not path.is_file():  # Python would wait for who writes into a pipe
        raise MigrationError(f"The migration {path.name} can't be read: it is no file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ENDS as error:
        raise MigrationError(f"The migration {path.name} can't be read: {reason(error)}.") from error
    if not callable(getattr(module, "upgrade", None)):
        raise MigrationError(f"The migration {path.name} has no function `upgrade`.")
    return module


def _id(path: Path, module: ModuleType) -> str:
    id = getattr(module, "revision", None)
    if not isinstance(id, str) or not id:
        raise MigrationError(f"The migration {path.name} has no `revision`: write a text that no other file has.")
    return id


def _distinct(pairs: Sequence[tuple[Path, str]]) -> dict[Path, str]:
    paths: dict[str, Path] = {}
    for path, id in pairs:
        if id in paths:
            raise MigrationError(
                f"Two migrations have the revision {id!r}: {paths[id].name} and {path.name}. "
                "Give another `revision` to the one that no database has run yet."
            )
        paths[id] = path
    return dict(pairs)


def _parents(path: Path, module: ModuleType, ids: Mapping[Path, str]) -> tuple[str, ...]:
    if not hasattr(module, "down_revision"):
        raise MigrationError(
            f"The migration {path.name} has no `down_revision`: write the revision that it comes after, "
            "or None where it needs no other."
        )
    named = [
        (variable, id)
        for variable in ("down_revision", "depends_on")
        for id in _texts(path, variable, getattr(module, variable, None))
    ]
    known = set(ids.values())
    for variable, id in named:
        # The framework's own may be removed from a project; what came after one of them needs no change then.
        if id not in known and not is_own(id):
            raise MigrationError(
                f"The migration {path.name} comes after the revision {id!r} (`{variable}`), but no file in "
                f"{path.parent.name}/ has that revision. Put the file back, or name another revision, or None."
            )
    return tuple(dict.fromkeys(id for _, id in named if id in known))


def _texts(path: Path, variable: str, value: Any) -> Sequence[str]:
    if value is None:
        return ()
    found = value if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(each, str) for each in found):
        raise MigrationError(f"The `{variable}` of the migration {path.name} is {value!r}, not a revision or None.")
    return found


def _in_order(revisions: Mapping[str, Revision]) -> list[Revision]:
    waits = {id: set(revision.parents) for id, revision in revisions.items()}
    children: dict[str, list[str]] = {id: [] for id in revisions}
    for revision in revisions.values():
        for parent in revision.parents:
            children[parent].append(revision.id)
    ready = [(revision.path.name, revision.id) for revision in revisions.values() if not revision.parents]
    heapq.heapify(ready)
    order = []
    while ready:
        _, id = heapq.heappop(ready)
        order.append(revisions[id])
        del waits[id]
        for child in children[id]:
            waits[child].discard(id)
            if not waits[child]:
                heapq.heappush(ready, (revisions[child].path.name, child))
    if waits:
        names = " -> ".join(revisions[id].path.name for id in _circle(waits))
        raise MigrationError(
            f"These migrations come after each other in a circle: {names}. Change the `down_revision` of one of them."
        )
    return order


def _circle(waits: Mapping[str, set[str]]) -> Iterator[str]:
    """Each of these waits for another of them, so that a walk comes back to where it has been."""
    walk = [min(waits)]
    while (following := min(waits[walk[-1]])) not in walk:
        walk.append(following)
    yield from walk[walk.index(following) :]
    yield following
