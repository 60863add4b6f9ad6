"""The suite of drivers fails where a driver breaks a promise, and never hangs."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.harness import ROOT

SEEDED = Path(__file__).with_name("seeded.py")


@pytest.mark.slow
def test_each_broken_promise_is_seen(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"

    words = ["-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", f"--junitxml={report}", str(SEEDED)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 1, done.stdout + done.stderr
    outcomes: dict[str, set[str]] = defaultdict(set)
    for case in ElementTree.parse(report).iter("testcase"):
        outcomes[case.attrib["classname"].rpartition(".Test")[2]].add(case[0].tag if len(case) else "passed")
    assert outcomes.pop("Sound") == {"passed"}, done.stdout
    assert len(outcomes) > 30
    assert {kind for kind, found in outcomes.items() if "failure" not in found} == set()
    assert "of 700 jobs did not come, and none else for 1 s" in done.stdout
    assert "the test did not end within 1 s" in done.stdout
