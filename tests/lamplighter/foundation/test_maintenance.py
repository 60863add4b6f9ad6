"""Whether the application is down."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from lamplighter.foundation.maintenance import FileMaintenance


def links_that_go_round(folder: Path) -> Path:
    """ELOOP."""
    (folder / "framework").symlink_to("framework")
    return folder / "framework" / "down"


def a_name_that_is_too_long(folder: Path) -> Path:
    """ENAMETOOLONG."""
    return folder / ("x" * 300) / "down"


def test_it_is_down_while_the_file_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    maintenance = FileMaintenance(tmp_path / "framework" / "down")

    seen = [maintenance.is_down()]
    maintenance.activate({})
    seen.append(maintenance.is_down())
    maintenance.deactivate()
    seen.append(maintenance.is_down())

    assert seen == [False, True, False]
    assert caplog.records == []


@pytest.mark.parametrize("make", [links_that_go_round, a_name_that_is_too_long], ids=lambda make: make.__doc__)
def test_where_nobody_can_tell_workers_wait_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Path], Path]
) -> None:
    maintenance = FileMaintenance(make(tmp_path))

    assert [maintenance.is_down(), maintenance.is_down()] == [True, True]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_where_the_file_can_not_be_it_is_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "framework").write_text("no folder")

    assert not FileMaintenance(tmp_path / "framework" / "down").is_down()
    assert caplog.records == []


def test_it_is_said_again_when_it_comes_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = links_that_go_round(tmp_path)
    maintenance = FileMaintenance(file)

    maintenance.is_down()
    file.parent.unlink()
    is_down = maintenance.is_down()
    file.parent.symlink_to("framework")
    maintenance.is_down()

    assert not is_down
    assert len(caplog.records) == 2
