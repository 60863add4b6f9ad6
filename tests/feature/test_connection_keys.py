"""The keys of connections: what the drivers read, what config/queue.py has, and what docs/connections.md tells."""

import ast
import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from lamplighter.queue.drivers.catalogue import DRIVERS
from lamplighter.queue.manager import COMMON
from lamplighter.support.discovery import load_settings

ROOT = Path(__file__).parents[2]
QUEUE = ROOT / "config/queue.py"
NEEDED = dataclasses.MISSING
WORDS = {"none": None, "empty": "", "none: it is needed": NEEDED, "False": False}


@dataclasses.dataclass(frozen=True)
class Told:
    """What the documentation tells of a key."""

    default: Any
    variables: frozenset[str]
    meaning: str


def options_of(driver: str) -> type[Any]:
    """The dataclass of a driver's keys."""
    module = importlib.import_module(DRIVERS[driver].partition(":")[0])
    name = f"{driver.title()}Options"
    found: type[Any] = getattr(module, name)
    return found


def defaults_of(driver: str) -> dict[str, Any]:
    """A driver's own keys, and what each is where nobody says."""
    return {field.name: field.default for field in dataclasses.fields(options_of(driver)) if field.name != "driver"}


def told() -> dict[str, dict[str, Told]]:
    """The table of docs/connections.md, by connections and keys."""
    section = (ROOT / "docs/connections.md").read_text().partition("\n## Every key\n")[2].partition("\n## ")[0]
    found: dict[str, dict[str, Told]] = {}
    names: list[str] = []
    for line in section.splitlines():
        if not line.startswith("| ") or line.startswith("| connection |"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall("`([^`]+)`", cells[0]) or names
        keys = [] if "no key but" in cells[4] else re.findall("`([^`]+)`", cells[1])
        defaults = cells[2].split(", ") if len(keys) == len(cells[2].split(", ")) else [cells[2]] * len(keys)
        for name in names:
            of_name = found.setdefault(name, {})
            for key, default in zip(keys, defaults, strict=True):
                variables = frozenset(word for word in re.findall("`([^`]+)`", cells[3]))
                if len(keys) > 1:
                    variables = frozenset(word for word in variables if word.endswith(f"_{key.upper()}"))
                of_name[key] = Told(value_of(default), variables, cells[4])
    return found


def value_of(text: str) -> Any:
    """A default as the table writes it."""
    if text in WORDS:
        return WORDS[text]
    text = text.strip("`").removesuffix(" s").replace(",", "")
    return float(text) if re.fullmatch(r"-?[0-9.]+", text) else text


def configured() -> dict[str, dict[str, ast.expr]]:
    """The connections of config/queue.py, with the expressions of their keys."""
    found: dict[str, dict[str, ast.expr]] = {}
    for node in ast.walk(ast.parse(QUEUE.read_text())):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            if "connections" in keys and isinstance(connections := node.values[keys.index("connections")], ast.Dict):
                for name, options in zip(connections.keys, connections.values, strict=True):
                    assert isinstance(name, ast.Constant)
                    assert isinstance(options, ast.Dict)
                    of_name = (each.value for each in options.keys if isinstance(each, ast.Constant))
                    found[str(name.value)] = dict(zip(map(str, of_name), options.values, strict=True))
    return found


def variables_in(expression: ast.expr) -> frozenset[str]:
    """The variables that an expression reads."""
    return frozenset(
        str(node.args[0].value)
        for node in ast.walk(expression)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and isinstance(node.args[0], ast.Constant)
    )


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_key_of_a_driver_is_told_with_its_default_and_no_other(driver: str) -> None:
    assert {key: one.default for key, one in told()[driver].items()} == defaults_of(driver)
    assert all(one.meaning for one in told()[driver].values())


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_key_of_a_driver_is_read_by_it(driver: str) -> None:
    module = Path(inspect.getfile(options_of(driver)))
    room = [module] if module.parent.name == "drivers" else [*module.parent.glob("*.py")]
    text = "".join(path.read_text() for path in room)
    if "make_claims(" in text:
        text += (ROOT / "lamplighter/queue/drivers/leasing/claims.py").read_text()

    assert [key for key in defaults_of(driver) if not re.search(rf"\b(settings|options)\.{key}\b", text)] == []


@pytest.mark.parametrize("name", configured())
def test_every_key_of_the_configuration_is_known_and_says_what_holds_without_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in {variable for value in configured()[name].values() for variable in variables_in(value)}:
        monkeypatch.delenv(variable, raising=False)
    options = load_settings(QUEUE)["connections"][name]
    defaults = defaults_of(options["driver"])
    own = {key: value for key, value in options.items() if key != "driver" and key not in COMMON}

    assert own.keys() <= defaults.keys()
    assert own == {key: own[key] if defaults[key] is NEEDED else defaults[key] for key in own}
    assert not options.get("after_commit")


@pytest.mark.parametrize("name", configured())
def test_the_variables_of_a_key_are_told(name: str) -> None:
    keys = configured()[name]

    read = {key: variables_in(value) for key, value in keys.items() if variables_in(value)}
    assert read == {key: one.variables for key, one in told()[name].items() if one.variables}


def test_every_key_of_the_configuration_has_a_comment_in_its_line() -> None:
    lines = QUEUE.read_text().splitlines()
    bare = [
        (name, key)
        for name, keys in configured().items()
        for key, value in keys.items()
        if (len(keys) == 1 or key != "driver") and "  # " not in lines[value.lineno - 1]
    ]

    assert bare == []
