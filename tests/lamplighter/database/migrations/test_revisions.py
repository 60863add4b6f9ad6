"""What a folder of migrations may hold, and what is said of what does not fit together."""

from pathlib import Path

import pytest

from lamplighter.database.migrations.revisions import is_own, read
from lamplighter.errors import MigrationError

OURS = Path(__file__).parents[4] / "database/migrations"
APPLICATION = {"2026_11_24_000100_create_data_store_tables"}

WAYS = "\n\ndef upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n"


def write(folder: Path, **files: str) -> None:
    """Files by their names, each with the two functions."""
    for name, lines in files.items():
        (folder / f"{name}.py").write_text(lines + WAYS)


def line(revision: str, down_revision: object = None) -> str:
    """The two variables of a file."""
    return f"revision = {revision!r}\ndown_revision = {down_revision!r}\n"


def names(folder: Path) -> list[str]:
    """The files' names in the order in which they run."""
    return [revision.name for revision in read(folder)]


def test_they_run_by_their_names_but_behind_what_they_need(tmp_path: Path) -> None:
    write(tmp_path, a=line("r1", "r3"), b=line("r2"), c=line("r3"), d=line("r4", ["r1", "r2"]))
    write(tmp_path, bb=line("r5") + "depends_on = 'r4'\n")

    assert names(tmp_path) == ["b", "c", "a", "d", "bb"]


def test_what_is_no_migration_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, a=line("r1"), __init__="raise RuntimeError")
    (tmp_path / ".#a.py").write_text("an editor's lock")
    (tmp_path / "README.md").write_text("")

    assert names(tmp_path) == ["a"]
    assert read(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"a": line("r1"), "b": line("r1")}, r"revision 'r1': a\.py and b\.py\."),
        ({"a": line("r1"), "b": line("r2", "r0")}, r"b\.py .* 'r0' \(`down_revision`\), .* no file"),
        ({"a": line("r1") + "depends_on = ('r0',)\n"}, r"a\.py .* 'r0' \(`depends_on`\), .* no file"),
        ({"a": "revision = 'r1'\n"}, r"a\.py has no `down_revision`: write .* None"),
        ({"a": "down_revision = None\n"}, r"a\.py has no `revision`"),
        ({"a": "revision = 1\ndown_revision = None\n"}, r"a\.py has no `revision`"),
        ({"a": line("r1", 7)}, r"`down_revision` of the migration a\.py is 7"),
        ({"a": line("r1", "r1")}, r"circle: a\.py -> a\.py\."),
        (
            {"a": line("r1", "r3"), "b": line("r2", "r1"), "c": line("r3", "r2")},
            r"circle: a\.py -> c\.py -> b\.py -> a\.py",
        ),
        (
            {"a": line("r1"), "b": line("r2", ["r1", "r3"]), "c": line("r3", "r2"), "d": line("r4", "r3")},
            r"circle: b\.py -> c\.py -> b\.py",
        ),
        ({"a": "def upgrade(:"}, r"a\.py can't be read: SyntaxError: .* line 1"),
        ({"a": "import nowhere"}, r"a\.py can't be read: ModuleNotFoundError: No module named 'nowhere'"),
        ({"a": "raise SystemExit(0)"}, r"a\.py can't be read: SystemExit: 0"),
    ],
)
def test_what_does_not_fit_together_is_said_with_the_names_of_the_files(
    tmp_path: Path, files: dict[str, str], why: str
) -> None:
    write(tmp_path, **files)

    with pytest.raises(MigrationError, match=why):
        read(tmp_path)


def test_one_without_a_way_up_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(line("r1"))

    with pytest.raises(MigrationError, match=r"a\.py has no function `upgrade`"):
        read(tmp_path)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"name = '\xff'\n")

    with pytest.raises(MigrationError, match=r"a\.py can't be read: SyntaxError"):
        read(tmp_path)


def test_one_of_the_frameworks_own_may_be_gone_from_under_an_application_s(tmp_path: Path) -> None:
    write(tmp_path, a=line("r1", "2026_11_25_000000"), b=line("r2", ["lamplighter_later", "r1"]))

    assert [revision.parents for revision in read(tmp_path)] == [(), ("r1",)]


def test_the_frameworks_own_are_known_as_such_and_need_nothing_of_the_application() -> None:
    revisions = read(OURS)

    own = {revision.id for revision in revisions if is_own(revision.id)}
    # A new one of the framework's has a revision that begins with "lamplighter_", and one of the application does not.
    assert {revision.name for revision in revisions if revision.id not in own} == APPLICATION
    assert all(set(revision.parents) <= own for revision in revisions if revision.id in own)
