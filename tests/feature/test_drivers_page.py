"""The driver of docs/drivers.md: what the page shows can be copied, and keeps what a connection promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ("acme/store.py", "acme/provider.py", "test_acme.py")
# What is quick, and a worker's process, whose connection the provider makes.
WANTED = "TestStore or TestQueue or (TestWorkers and solo) or (TestProcesses and pool_of_processes and one)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the page shows."""
    blocks = BLOCK.findall((ROOT / "docs/drivers.md").read_text())
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/__init__.py").touch()
    for name, text in zip(FILES, blocks, strict=True):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.slow
def test_the_driver_of_the_page_passes_its_tests(folder: Path) -> None:
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-k", WANTED, "test_acme.py"]

    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 40, done.stdout
