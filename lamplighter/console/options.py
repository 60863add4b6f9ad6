"""The options that every command understands, before and after its name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lamplighter.errors import ConsoleError

QUIET = -1
MOST_VERBOSE = 3
LONGEST = 10 * 366 * 86_400  # seconds that an option may ask for: clocks and calendars have an end

OPTION_HELP = (
    ("-h, --help", "Show this help, or that of the command"),
    ("-q, --quiet", "Print nothing but errors"),
    ("-V, --version", "Show the version"),
    ("    --ansi|--no-ansi", "Force colours, or do without them"),
    ("-n, --no-interaction", "Ask nothing: take the default answers"),
    ("    --env=ENV", "The environment to run in"),
    ("-v|vv|vvv, --verbose", "Print more; errors come with their trace"),
)


@dataclass(frozen=True)
class GlobalOptions:
    """What was asked of every command; `ansi` is None where the terminal decides, `env` where the environment does."""

    verbosity: int = 0
    env: str | None = None
    interaction: bool = True
    ansi: bool | None = None
    help: bool = False
    version: bool = False


def split_global_options(argv: Sequence[str]) -> tuple[GlobalOptions, list[str]]:
    """Take the global options out of a command line; what is left is the command's name and its own arguments.

    Nothing behind a `--` is taken.

    Raises:
        ConsoleError: `--env` has no value.
    """
    options = GlobalOptions()
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            return options, [*rest, word, *words]
        if word == "--env" or word.startswith("--env="):
            name = next(words, "") if word == "--env" else word.removeprefix("--env=")
            if not name or name.startswith("-"):
                raise ConsoleError("The --env option needs a value, as in --env=testing.")
            options = replace(options, env=name)
        elif word in _LONG:
            options = _LONG[word](options)
        elif _is_short_cluster(word):
            for letter in word[1:]:
                options = _SHORT[letter](options)
        else:
            rest.append(word)
    return options, rest


def is_global(name: str) -> bool:
    """Whether an option of this name never reaches a command, being one of all commands."""
    return name == "--env" or name in _LONG or _is_short_cluster(name)


def _is_short_cluster(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and all(letter in _SHORT for letter in word[1:])


def _louder(options: GlobalOptions) -> GlobalOptions:
    if options.verbosity == QUIET:
        return options
    return replace(options, verbosity=min(options.verbosity + 1, MOST_VERBOSE))


def _quiet(options: GlobalOptions) -> GlobalOptions:
    return replace(options, verbosity=QUIET)


def _no_interaction(options: GlobalOptions) -> GlobalOptions:
    return replace(options, interaction=False)


def _help(options: GlobalOptions) -> GlobalOptions:
    return replace(options, help=True)


def _version(options: GlobalOptions) -> GlobalOptions:
    return replace(options, version=True)


_SHORT: dict[str, Callable[[GlobalOptions], GlobalOptions]] = {
    "h": _help,
    "n": _no_interaction,
    "q": _quiet,
    "v": _louder,
    "V": _version,
}

_LONG: dict[str, Callable[[GlobalOptions], GlobalOptions]] = {
    "--help": _help,
    "--no-interaction": _no_interaction,
    "--quiet": _quiet,
    "--verbose": _louder,
    "--version": _version,
    "--ansi": lambda options: replace(options, ansi=True),
    "--no-ansi": lambda options: replace(options, ansi=False),
}
