"""What a command prints: Laravel's look, in colour where a terminal shows it."""

import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO, TypeVar

from lamplighter.console.options import QUIET, GlobalOptions
from lamplighter.console.progress import Progress

T = TypeVar("T")

DEFAULT_WIDTH = 80  # columns where there is no terminal
MAX_WIDTH = 150

STYLES = {
    "info": ("\x1b[37;44m", "\x1b[39;49m"),
    "warn": ("\x1b[30;43m", "\x1b[39;49m"),
    "error": ("\x1b[37;41m", "\x1b[39;49m"),
    "bold": ("\x1b[1m", "\x1b[22m"),
    "gray": ("\x1b[90m", "\x1b[39m"),
    "green": ("\x1b[32m", "\x1b[39m"),
    "yellow": ("\x1b[33m", "\x1b[39m"),
    "red": ("\x1b[31m", "\x1b[39m"),
    "title": ("\x1b[32;1m", "\x1b[39;22m"),
}

# What a terminal obeys, and what turns the order of letters around; of the former, our own styles pass. Names of jobs
# and rows of a database are anybody's text.
_STEERING = re.compile(
    "(" + "|".join(re.escape(code) for style in STYLES.values() for code in style) + ")"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


class Output:
    """The screen of one command: errors go to `stderr`, all else to `stdout`.

    Each call is one write, flushed, so that lines of several processes do not mix and none waits in a buffer. With
    verbosity -1 only errors are written. A reader that has gone away (`| head`) ends nothing: the rest is dropped. What
    a terminal would obey is written as JSON writes it, but for our own styles and by `write`.

    Attributes:
        has_reader: whether nobody who reads has gone away yet; what goes on without end is to end without one.
    """

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO | None = None,
        *,
        stdin: TextIO | None = None,
        verbosity: int = 0,
        ansi: bool = False,
        ansi_errors: bool | None = None,
        width: int = DEFAULT_WIDTH,
        interactive: bool = False,
    ) -> None:
        self.verbosity = verbosity
        self.ansi = ansi
        self._ansi_errors = ansi if ansi_errors is None else ansi_errors
        self.width = min(width, MAX_WIDTH)
        self.interactive = interactive
        self.has_reader = True
        self._stdout = stdout
        self._stderr = stderr if stderr is not None else stdout
        self._stdin = stdin
        self._line_breaks = 1  # at the end of what was written last; blocks keep one empty line between them

    @classmethod
    def for_terminal(cls, options: GlobalOptions) -> "Output":
        """The output of this process, as its terminal, its environment and the options want it."""
        return cls(
            # Python has none where it was closed, as by `>&-`.
            sys.stdout or Path(os.devnull).open("w", encoding="utf-8"),
            sys.stderr,
            stdin=sys.stdin,
            verbosity=options.verbosity,
            ansi=_wants_ansi(options, sys.stdout),
            ansi_errors=_wants_ansi(options, sys.stderr),
            width=_columns(sys.stdout),
            interactive=options.interaction and options.verbosity != QUIET and _is_tty(sys.stdin),
        )

    @property
    def is_quiet(self) -> bool:
        """Whether only errors are printed."""
        return self.verbosity == QUIET

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees this at once, so that a line may be drawn again."""
        return _is_tty(self._stdout)

    def write(self, text: str) -> None:
        """Write text as it stands, in one go."""
        if not self.is_quiet:
            self._emit(self._stdout, text)

    def line(self, text: str = "", *, verbosity: int = 0) -> None:
        """Print a line, from this verbosity on."""
        if self.verbosity >= verbosity:
            self.write(f"{_harmless(text)}\n")

    def info(self, text: str) -> None:
        """Tell what happens."""
        self._block("info", text)

    def warn(self, text: str) -> None:
        """Tell what may go wrong."""
        self._block("warn", text)

    def error(self, text: str) -> None:
        """Tell what went wrong, also where all else is quiet. Further lines of the text stand below the block."""
        self._emit(self._stderr, self._framed("error", text, ansi=self._ansi_errors))

    def trace(self, error: BaseException) -> None:
        """Show where an error comes from, also where all else is quiet."""
        self._emit(self._stderr, _harmless("".join(traceback.format_exception(error))))

    def paint(self, style: str, text: str) -> str:
        """The text in a style: info, warn, error, bold, gray, green, yellow, red or title."""
        return _styled(style, text) if self.ansi and text else text

    def two_column(self, left: str, right: str = "", *, style: str | None = None) -> None:
        """Print two words on a line with dots between them; the style colours the right one."""
        left, right = cell(left), cell(right)
        dots = "." * max(0, self.width - len(left) - len(right) - (6 if right else 5))
        words = [left, self.paint("gray", dots), self.paint(style, right) if style else right]
        self.line("  " + " ".join(word for word in words if word))

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print rows in a frame."""
        headers = [cell(header) for header in headers]
        cells = [[cell(str(one)) for one in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
        frame = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
        head = [self.paint("green", header.ljust(width)) for header, width in zip(headers, widths, strict=True)]
        body = [_row([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]) for row in cells]
        below = [*body, frame] if body else []
        self.write("".join(f"{line}\n" for line in [frame, _row(head), frame, *below]))

    def confirm(self, question: str, default: bool = False) -> bool:
        """Ask for a yes or a no; where nobody can answer, the default."""
        hint = "yes" if default else "no"
        answer = self.ask(f"{question} (yes/no)", hint)
        return answer is not None and answer.strip().lower() in ("y", "yes")

    def ask(self, question: str, default: str | None = None) -> str | None:
        """Ask for a line of text; the default where nobody can answer or the answer is empty."""
        if not self.interactive or self._stdin is None:
            return default
        shown = f" [{self.paint('yellow', default)}]" if default is not None else ""
        self.write(f"\n {self.paint('green', question)}{shown}:\n > ")
        answer = self._stdin.readline().strip()
        self._line_breaks = 1  # the answer's own line break
        return answer or default

    def progress(self, items: Iterable[T], total: int | None = None, label: str = "") -> Iterator[T]:
        """Pass the items on, and show how far it is: a bar on a terminal, else a line now and then."""
        if total is None and isinstance(items, Sequence):
            total = len(items)
        progress = Progress(self.write, total, label, redraws=self.is_terminal, width=self.width)
        for item in items:
            yield item
            progress.advance()
        progress.finish()

    def _block(self, kind: str, text: str) -> None:
        if not self.is_quiet:
            self._emit(self._stdout, self._framed(kind, text, ansi=self.ansi))

    def _framed(self, kind: str, text: str, *, ansi: bool) -> str:
        head, *below = _ended(_harmless(text)).split("\n")
        label = f" {kind.upper()} "
        if ansi:
            label = _styled(kind, label)
            head = re.sub(r"\[[^\]]*\]", lambda match: _styled("bold", match[0]), head)
        gap = "" if self._line_breaks > 1 else "\n"
        tail = "".join(f"  {line}\n" for line in below) + "\n" if below else ""
        return f"{gap}  {label} {head}  \n\n{tail}"

    def _emit(self, stream: TextIO, text: str) -> None:
        if not text:
            return
        breaks = len(text) - len(text.rstrip("\n"))
        self._line_breaks = breaks + (self._line_breaks if breaks == len(text) else 0)
        try:
            _write(stream, text)
            stream.flush()
        except BrokenPipeError:
            self.has_reader = False
            # What is left in the stream's buffer would fail again when the interpreter ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _styled(style: str, text: str) -> str:
    on, off = STYLES[style]
    return f"{on}{text}{off}"


def _harmless(text: str) -> str:
    return _STEERING.sub(lambda found: found[1] or f"\\u{ord(found[0]):04x}", text)


def cell(text: str) -> str:
    """Anybody's text on one line of a screen: what a terminal would obey is written as JSON writes it."""
    return _harmless(text).replace("\n", "\\n").replace("\t", "\\t")


def _ended(text: str) -> str:
    head, line_break, below = text.partition("\n")
    return (head if head.endswith((".", "?", "!", ":", ";")) else f"{head}.") + line_break + below


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        # Names of jobs come from the wire, with half surrogate pairs and letters that an old terminal lacks.
        stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))


def _is_tty(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _wants_ansi(options: GlobalOptions, stream: TextIO) -> bool:
    if options.ansi is not None:
        return options.ansi
    return _is_tty(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO) -> int:
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    if not _is_tty(stream):
        return DEFAULT_WIDTH
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH
    except OSError:
        return DEFAULT_WIDTH
