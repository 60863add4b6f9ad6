"""The global options, wherever they stand."""

import pytest

from lamplighter.console.options import GlobalOptions, split_global_options
from lamplighter.errors import ConsoleError


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["-q"], GlobalOptions(verbosity=-1)),
        (["--quiet"], GlobalOptions(verbosity=-1)),
        (["-v"], GlobalOptions(verbosity=1)),
        (["-vv"], GlobalOptions(verbosity=2)),
        (["-vvv"], GlobalOptions(verbosity=3)),
        (["-v", "-vvv"], GlobalOptions(verbosity=3)),
        (["-qv"], GlobalOptions(verbosity=-1)),
        (["--verbose"], GlobalOptions(verbosity=1)),
        (["-n"], GlobalOptions(interaction=False)),
        (["--no-interaction"], GlobalOptions(interaction=False)),
        (["-nv"], GlobalOptions(verbosity=1, interaction=False)),
        (["--ansi"], GlobalOptions(ansi=True)),
        (["--no-ansi"], GlobalOptions(ansi=False)),
        (["--env=testing"], GlobalOptions(env="testing")),
        (["--env", "testing"], GlobalOptions(env="testing")),
        (["-h"], GlobalOptions(help=True)),
        (["--help"], GlobalOptions(help=True)),
        (["-V"], GlobalOptions(version=True)),
        (["--version"], GlobalOptions(version=True)),
    ],
)
def test_a_global_option_means_the_same_before_and_after_the_command(words: list[str], options: GlobalOptions) -> None:
    before = split_global_options([*words, "queue:work", "kafka", "--once"])
    after = split_global_options(["queue:work", "kafka", "--once", *words])

    assert before == after == (options, ["queue:work", "kafka", "--once"])


def test_what_belongs_to_the_command_stays_in_its_order() -> None:
    argv = ["queue:work", "--tries=3", "-t", "3", "-", "-vx", "--environment=x", "--queue=high,low"]

    assert split_global_options(argv) == (GlobalOptions(), argv)


def test_nothing_behind_two_dashes_is_taken() -> None:
    options, rest = split_global_options(["-v", "say", "--", "-v", "--env=x"])

    assert options == GlobalOptions(verbosity=1)
    assert rest == ["say", "--", "-v", "--env=x"]


@pytest.mark.parametrize("words", [["--env"], ["--env="], ["--env", ""], ["--env", "--force"], ["--env=-v"]])
def test_an_environment_without_a_name_is_an_error(words: list[str]) -> None:
    with pytest.raises(ConsoleError, match="--env option needs a value"):
        split_global_options(["migrate", *words])
