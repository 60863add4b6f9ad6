"""The layers of the architecture: a room imports from earlier lines only, and neighbours do not know each other."""

import ast
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LINES: tuple[tuple[str, ...], ...] = (
    ("contracts", "errors"),
    ("support",),
    ("container", "config", "events", "logging", "console"),
    ("cache", "database"),
    ("queue",),
    ("kafka",),
    ("foundation",),
    ("testing",),
)
# The rooms within a room, from the bottom. Of the few modules beside them those of queue/ are everybody's, and those of
# kafka/ are on top.
FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "queue": (
        ("jobs",),
        ("dispatching", "claims"),
        ("failed",),
        ("guard",),
        ("worker",),
        ("pools", "drivers"),
        ("guard/process",),
        ("commands",),
    ),
    "kafka": (
        ("settings",),
        ("partitions",),
        ("topics",),
        ("reading",),
        ("scheduling",),
        ("polling",),
        ("producing",),
        ("delays", "deadletters"),
        ("monitoring",),
        ("embedded",),
        ("queue",),
        ("connections",),
        ("commands", "provider"),
    ),
}
FLOOR_OF = {
    f"{line}/{room}": number for line, floors in FLOORS.items() for number, floor in enumerate(floors) for room in floor
}
# What several drivers are made from, each of earlier ones; apart from these no driver knows another.
BASES = ("leasing", "inline", "sync", "exiting", "deferred")
LINE_OF = {room: number for number, line in enumerate(LINES) for room in line}
APPLICATION = ("app", "bootstrap", "config", "database")
KNOW_THE_CLIENT = (
    ROOT / "lamplighter/kafka/settings/native.py",
    ROOT / "lamplighter/kafka/embedded/cluster.py",  # opens the library that the client brings, by the path of it
)
# errors and contracts are the two halves of one page: contracts may name an error.
FREE = frozenset({"__version__"})


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The absolute names that a module imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def rooms() -> list[Path]:
    """Every module of the framework."""
    return sorted((ROOT / "lamplighter").rglob("*.py"))


def room_of(name: str) -> str | None:
    """The room of an imported name; None for what is not the framework's."""
    parts = name.split(".")
    return parts[1] if parts[0] == "lamplighter" and len(parts) > 1 and parts[1] not in FREE else None


def found(is_wrong: Callable[[Path, str], bool], paths: Iterable[Path] = ()) -> list[str]:
    """The imports that are wrong, each with its module."""
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths or rooms()
        for name in imports(path)
        if is_wrong(path, name)
    ]


def test_no_module_imports_from_a_later_line_or_a_neighbour() -> None:
    def climbs(path: Path, name: str) -> bool:
        own = path.relative_to(ROOT / "lamplighter").parts[0].removesuffix(".py")
        room = room_of(name)
        return own != "__init__" and room is not None and room != own and LINE_OF[room] >= LINE_OF[own]

    assert found(climbs) == []


def floor_room(name: str) -> str:
    """The room within a room that a module stands in, as `queue/worker`; nothing for one that is everybody's."""
    parts = name.split(".")[1:]
    known = ["/".join(parts[:count]) for count in (3, 2) if "/".join(parts[:count]) in FLOOR_OF]
    return known[0] if known else ""


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_no_module_imports_from_a_floor_above_or_beside_its_own() -> None:
    def climbs(path: Path, name: str) -> bool:
        own, room = floor_room(name_of(path)), floor_room(name)
        if not own or room == own or not room.startswith(f"{own.split('/')[0]}/"):
            return False
        return FLOOR_OF[room] >= FLOOR_OF[own]

    assert found(climbs) == []


def test_no_driver_knows_another() -> None:
    drivers = "lamplighter.queue.drivers."

    def is_anothers(path: Path, name: str) -> bool:
        own = name_of(path).removeprefix(drivers).split(".")[0]
        known = {own, *BASES[: BASES.index(own) if own in BASES else len(BASES)]}
        return name.startswith(drivers) and name.removeprefix(drivers).split(".")[0] not in known

    assert found(is_anothers, [path for path in rooms() if "queue/drivers/" in path.as_posix()]) == []


@pytest.mark.parametrize("line", FLOORS)
def test_every_room_within_a_room_has_a_floor(line: str) -> None:
    there = {f"{line}/{path.parent.name}" for path in (ROOT / "lamplighter" / line).glob("*/*.py")}

    assert there <= set(FLOOR_OF)


def test_the_framework_never_imports_the_application() -> None:
    assert found(lambda path, name: name.split(".")[0] in APPLICATION) == []


def test_few_modules_know_the_client_of_kafka() -> None:
    """Another major version is another library; and only the clients of `native` are made as a fork wants them."""
    assert found(lambda path, name: path not in KNOW_THE_CLIENT and name.split(".")[0] == "confluent_kafka") == []


def test_only_the_suite_of_drivers_needs_pytest() -> None:
    suite = ROOT / "lamplighter/testing/conformance"

    assert found(lambda path, name: path.parent != suite and name.split(".")[0] in ("pytest", "_pytest")) == []


def test_no_module_is_longer_than_what_is_read_at_once() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in rooms()}

    assert {path: lines for path, lines in lengths.items() if lines > 400} == {}


def test_every_room_has_a_line() -> None:
    there = {
        path.name.removesuffix(".py")
        for path in (ROOT / "lamplighter").iterdir()
        if not path.name.startswith(("_", "py."))
    }

    assert there - {"__pycache__"} <= set(LINE_OF)


@pytest.mark.parametrize("room", ["contracts", "errors"])
def test_the_first_line_needs_only_the_standard_library(room: str) -> None:
    import sys

    names = {name.split(".")[0] for name in imports(ROOT / f"lamplighter/{room}.py")}

    assert names <= {*sys.stdlib_module_names}
