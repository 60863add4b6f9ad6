"""All commands on one screen, and one command found by its name; nothing here imports a command."""

from collections.abc import Mapping, Sequence

from lamplighter import __version__
from lamplighter.console.options import OPTION_HELP
from lamplighter.console.output import Output
from lamplighter.errors import ConsoleError
from lamplighter.support.provider import CommandEntry, CommandTable
from lamplighter.support.strings import did_you_mean, is_slip

COLUMN = 20  # columns of a word at least, so that most screens line up

BUILT_IN = (
    CommandEntry("help", "Show how a command is used", "lamplighter.console.commands:HelpCommand"),
    CommandEntry("list", "List the commands", "lamplighter.console.commands:ListCommand"),
)


def commands_by_name(table: CommandTable) -> dict[str, CommandEntry]:
    """Every command in the order of its name; an application's own `list` takes the place of ours."""
    entries = {entry.name: entry for entry in (*BUILT_IN, *table.entries())}
    return dict(sorted(entries.items()))


def find(entries: Mapping[str, CommandEntry], name: str) -> CommandEntry:
    """The command of a name.

    Raises:
        ConsoleError: there is none; the message names those that look like it. A destructive one is named only where a
            letter of it was mistyped, and not where another word was meant.
    """
    if name in entries:
        return entries[name]
    entries = {known: entry for known, entry in entries.items() if not entry.is_hidden}
    below = [known for known in entries if known.startswith(f"{name}:")]
    if below:
        raise ConsoleError(f'Command "{name}" is not defined. There are {", ".join(below)}.')
    near = did_you_mean(
        name, [known for known, each in entries.items() if not each.is_destructive or is_slip(name, known)]
    )
    raise ConsoleError(f'Command "{name}" is not defined.' + (f" Did you mean {' or '.join(near)}?" if near else ""))


def show_overview(output: Output, entries: Mapping[str, CommandEntry], prefix: str | None = None) -> None:
    """Print the commands by prefix, all of them or those of one prefix.

    Raises:
        ConsoleError: no command has that prefix.
    """
    listed = [entry for entry in entries.values() if not entry.is_hidden]
    shown = [entry for entry in listed if prefix is None or _prefix(entry) == prefix]
    if not shown:
        prefixes = sorted({_prefix(entry) for entry in listed} - {""})
        raise ConsoleError(f'There are no commands in "{prefix}:". The prefixes are {", ".join(prefixes)}.')
    lines = [f"Lamplighter {output.paint('green', __version__)}", ""]
    lines += section(output, "Usage", ["command [options] [arguments]"])
    lines += section(output, "Options", columns(output, OPTION_HELP))
    title = "Available commands" if prefix is None else f'Available commands in "{prefix}:"'
    lines.append(output.paint("yellow", f"{title}:"))
    lines += _grouped(output, shown, with_headings=prefix is None)
    output.write("\n".join(lines) + "\n")


def section(output: Output, title: str, lines: Sequence[str]) -> list[str]:
    """A heading, its lines indented, and an empty line."""
    return [output.paint("yellow", f"{title}:"), *(f"  {line}" for line in lines), ""]


def columns(output: Output, rows: Sequence[tuple[str, str]]) -> list[str]:
    """Rows of a word and its meaning, the meanings below each other."""
    width = max([COLUMN, *(len(left) for left, _ in rows)])
    return [f"{output.paint('green', left)}{' ' * (width - len(left))}  {right}".rstrip() for left, right in rows]


def _grouped(output: Output, entries: Sequence[CommandEntry], *, with_headings: bool) -> list[str]:
    # A command without a prefix stands above all that have one, as `down` above `cache:clear`.
    ordered = sorted(entries, key=lambda entry: (_prefix(entry), entry.name))
    rows = columns(output, [(entry.name, entry.description) for entry in ordered])
    lines: list[str] = []
    heading = ""
    for entry, row in zip(ordered, rows, strict=True):
        if with_headings and _prefix(entry) != heading:
            heading = _prefix(entry)
            lines.append(output.paint("yellow", f" {heading}"))
        lines.append(f"  {row}")
    return lines


def _prefix(entry: CommandEntry) -> str:
    return entry.name.partition(":")[0] if ":" in entry.name else ""
