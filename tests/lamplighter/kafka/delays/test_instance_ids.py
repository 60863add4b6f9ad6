"""Instance ids that movers inherit from those which were killed on their host."""

import subprocess
import sys
from pathlib import Path

import pytest

from lamplighter.kafka.delays.instance_ids import take_instance_id
from tests.harness import ROOT

HOLDER = """
import sys
from pathlib import Path
from lamplighter.kafka.delays.instance_ids import take_instance_id
instance_id = take_instance_id(Path(sys.argv[1]), "store.delays")
print(instance_id.text, flush=True)
sys.stdin.read()
"""


def test_each_mover_of_a_group_has_an_id_of_its_own(tmp_path: Path) -> None:
    taken = [take_instance_id(tmp_path, group) for group in ("store.delays", "store.delays", "other/../delays")]

    assert len({instance_id.text for instance_id in taken if instance_id is not None}) == 3


def test_an_id_that_was_released_is_given_again(tmp_path: Path) -> None:
    first, second = take_instance_id(tmp_path, "store.delays"), take_instance_id(tmp_path, "store.delays")
    assert first is not None
    assert second is not None

    first.release()
    again = take_instance_id(tmp_path, "store.delays")

    assert again is not None
    assert again.text == first.text


def test_a_process_that_is_killed_leaves_its_id_to_the_next(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    held = holder.stdout.readline().strip()
    other = take_instance_id(tmp_path, "store.delays")

    holder.kill()
    holder.communicate(timeout=10)
    heir = take_instance_id(tmp_path, "store.delays")

    assert other is not None
    assert heir is not None
    assert (heir.text == held, other.text == held) == (True, False)


def test_an_id_that_was_changed_stays_changed(tmp_path: Path) -> None:
    instance_id = take_instance_id(tmp_path, "store.delays")
    assert instance_id is not None
    before, after = instance_id.text, instance_id.change()

    instance_id.release()
    again = take_instance_id(tmp_path, "store.delays")

    assert again is not None
    assert before != after == again.text


def test_a_file_that_was_cut_off_makes_a_new_id(tmp_path: Path) -> None:
    instance_id = take_instance_id(tmp_path, "store.delays")
    assert instance_id is not None
    instance_id.release()
    [file] = tmp_path.iterdir()
    file.write_text(instance_id.text[:20])

    again = take_instance_id(tmp_path, "store.delays")

    assert again is not None
    assert len(again.text) == len(instance_id.text)
    assert file.read_text() == again.text


def test_a_folder_that_can_not_be_written_is_told_and_gives_no_id(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "storage").write_text("no folder")

    assert take_instance_id(tmp_path / "storage/movers", "store.delays") is None

    [record] = caplog.records
    assert "no name can be kept" in record.message
    assert vars(record)["reason"] == "Not a directory"
