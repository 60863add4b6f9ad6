"""The layers of the architecture: a room imports from earlier lines only, and neighbours do not know each other."""

import ast
from collections.abc import Iterator
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
BASES = ("leasing", "inline", "sync", "deferred")
LINE_OF = {room: number for number, line in enumerate(LINES) for room in line}
APPLICATION = ("app", "bootstrap", "config", "database")
KNOW_THE_CLIENT = (
    ROOT / "lamplighter/kafka/settings/native.py",
    ROOT / "lamplighter/kafka/embedded/cluster.py",  # opens the library that the client brings, by the path of it
)
# errors and contracts are the two halves of one page: contracts may name an error.
FREE = frozenset({"__version__"})


def imports(path: Path) -> Iterator[str]:
    """The absolute names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms() -> list[Path]:
    """Every module of the framework."""
    return sorted((ROOT / "lamplighter").rglob("*.py"))


def room_of(name: str) -> str | None:
    """The room of an imported name; None for what is not the framework's."""
    parts = name.split(".")
    return parts[1] if parts[0] == "lamplighter" and len(parts) > 1 and parts[1] not in FREE else None


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_from_a_later_line_or_a_neighbour(path: Path) -> None:
    own = path.relative_to(ROOT / "lamplighter").parts[0].removesuffix(".py")
    if own == "__init__":
        return

    climbs = [
        name
        for name in imports(path)
        if (room := room_of(name)) is not None and room != own and LINE_OF[room] >= LINE_OF[own]
    ]

    assert climbs == []


def floor_room(name: str) -> str:
    """The room within a room that a module stands in, as `queue/worker`; nothing for one that is everybody's."""
    parts = name.split(".")[1:]
    known = ["/".join(parts[:count]) for count in (3, 2) if "/".join(parts[:count]) in FLOOR_OF]
    return known[0] if known else ""


def name_of(path: Path) -> str:
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_from_a_floor_above_or_beside_its_own(path: Path) -> None:
    own = floor_room(name_of(path))
    if not own:
        return
    line = own.split("/")[0]

    climbs = [
        name
        for name in imports(path)
        if (room := floor_room(name)).startswith(f"{line}/") and room != own and FLOOR_OF[room] >= FLOOR_OF[own]
    ]

    assert climbs == []


@pytest.mark.parametrize(
    "path", [path for path in rooms() if "queue/drivers/" in path.as_posix()], ids=lambda path: path.stem
)
def test_no_driver_knows_another(path: Path) -> None:
    drivers = "lamplighter.queue.drivers."
    own = name_of(path).removeprefix(drivers).split(".")[0]

    known = {name.removeprefix(drivers).split(".")[0] for name in imports(path) if name.startswith(drivers)}

    assert known <= {own, *BASES[: BASES.index(own) if own in BASES else len(BASES)]}


@pytest.mark.parametrize("line", FLOORS)
def test_every_room_within_a_room_has_a_floor(line: str) -> None:
    found = {f"{line}/{path.parent.name}" for path in (ROOT / "lamplighter" / line).glob("*/*.py")}

    assert found <= set(FLOOR_OF)


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_framework_never_imports_the_application(path: Path) -> None:
    assert [name for name in imports(path) if name.split(".")[0] in APPLICATION] == []


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_few_modules_know_the_client_of_kafka(path: Path) -> None:
    """Another major version is another library; and only the clients of `native` are made as a fork wants them."""
    if path in KNOW_THE_CLIENT:
        return

    assert [name for name in imports(path) if name.split(".")[0] == "confluent_kafka"] == []


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_suite_of_drivers_needs_pytest(path: Path) -> None:
    if path.parent == ROOT / "lamplighter/testing/conformance":
        return

    assert [name for name in imports(path) if name.split(".")[0] in ("pytest", "_pytest")] == []


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_longer_than_what_is_read_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_every_room_has_a_line() -> None:
    found = {
        path.name.removesuffix(".py")
        for path in (ROOT / "lamplighter").iterdir()
        if not path.name.startswith(("_", "py."))
    }

    assert found - {"__pycache__"} <= set(LINE_OF)


@pytest.mark.parametrize("room", ["contracts", "errors"])
def test_the_first_line_needs_only_the_standard_library(room: str) -> None:
    import sys

    names = {name.split(".")[0] for name in imports(ROOT / f"lamplighter/{room}.py")}

    assert names <= {*sys.stdlib_module_names}
