"""What holds for all tests."""

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell why a test is run once more, which nothing else does."""
    if report.outcome == "rerun":  # type: ignore[comparison-overlap]  # an outcome of pytest-rerunfailures
        print(f"\n{report.nodeid} is run once more:\n{report.longreprtext[-4000:]}")  # noqa: T201
