"""What applications import from `lamplighter` itself."""

import subprocess
import sys

import pytest

import lamplighter


@pytest.mark.parametrize("name", lamplighter.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(lamplighter, name).__name__ == name


def test_the_names_are_sorted_and_listed() -> None:
    assert lamplighter.__all__ == sorted(lamplighter.__all__)
    assert set(lamplighter.__all__) <= set(dir(lamplighter))


def test_another_name_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'lamplighter' has no attribute 'Jobs'"):
        lamplighter.Jobs  # noqa: B018  # type: ignore[attr-defined]


def test_importing_it_imports_nothing_else_of_it() -> None:
    program = "import sys, lamplighter; print([name for name in sys.modules if name.startswith('lamplighter.')])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"
