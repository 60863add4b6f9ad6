"""The text of a file like `.env`, by the rules of Laravel's reader (vlucas/phpdotenv 5)."""

import re
from collections.abc import Iterator, Mapping

BLANK = " \t\n\r\0\x0b"  # what PHP's trim() takes away
_LINE_END = re.compile(r"\r\n|\n|\r")
_NAME = re.compile(r"[\w.]+")
_EXPORT = re.compile(r"^export\s+")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_CLOSED = re.compile(r'(?:[^"\\]|\\.)*"')
_SINGLE = re.compile(r"'([^']*)'")
_UNQUOTED = re.compile(r"([^\s#]*)", re.ASCII)
_NOTHING_ELSE = re.compile(r"\s*(#.*)?", re.ASCII | re.DOTALL)
_LETTER = re.compile(r"\\(.)|(.)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([a-zA-Z0-9_.]+)\}")
_ESCAPES = {'"': '"', "\\": "\\", "$": "$", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class WrongLine(ValueError):
    """A line that Laravel would refuse; the text says which and why, and never what it holds."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"line {number} {why}")


def read_dotenv(text: str, known: Mapping[str, str]) -> dict[str, str]:
    """Every variable of the file, by name; a name without a value takes back what stood above it.

    `${NAME}` is replaced outside of single quotes: by the known variable, else by one that stands above in the file;
    where there is neither, it stays.

    Raises:
        WrongLine: a line can't be read.
    """
    values: dict[str, str] = {}
    for number, name, raw in _entries(text):
        if raw is None:
            values.pop(name, None)
            continue
        try:
            letters, dollars = _parse(raw)
        except ValueError as error:
            raise WrongLine(number, str(error)) from None
        values[name] = _replace(letters, dollars, known, values)
        if "\0" in values[name]:
            raise WrongLine(number, "has a NUL byte, which no variable can hold")
    return values


def _entries(text: str) -> Iterator[tuple[int, str, str | None]]:
    """The line, the name and the raw value of each variable, which in double quotes may go on over several lines."""
    lines = enumerate(_LINE_END.split(text), 1)
    for number, line in lines:
        if not line.strip(BLANK) or line.strip(BLANK).startswith("#"):
            continue
        name, equals, raw = line.partition("=")
        parts = [raw]
        # Each line is looked at once: an escape never reaches behind the end of its line, where no quote can stand.
        is_open = raw.startswith('"') and not _CLOSED.match(raw, 1)
        while is_open:
            more = next(lines, None)
            if more is None:
                raise WrongLine(number, "opens a quote that has no end")
            parts.append(more[1])
            is_open = not _CLOSED.match(more[1])
        yield number, _name(number, name), "\n".join(parts).strip(BLANK) if equals else None


def _name(number: int, text: str) -> str:
    name = _EXPORT.sub("", text.strip(BLANK))
    if len(name) > 2 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    if not _NAME.fullmatch(name):
        raise WrongLine(number, "is no NAME=value")
    return name


def _parse(raw: str) -> tuple[str, list[int]]:
    """A value without its quotes and its comment, and where in it a dollar sign may begin a variable."""
    kind = {"'": _SINGLE, '"': _DOUBLE}.get(raw[:1], _UNQUOTED)
    match = kind.match(raw)
    if match is None:
        raise ValueError("opens a quote that has no end")
    if not _NOTHING_ELSE.fullmatch(raw, match.end()):
        raise ValueError("has more behind its value; put a value with spaces or quotes between quotes")
    if kind is _DOUBLE:
        return _unescaped(match[1])
    return match[1], [place for place, letter in enumerate(match[1]) if letter == "$" and kind is _UNQUOTED]


def _unescaped(text: str) -> tuple[str, list[int]]:
    letters: list[str] = []
    dollars: list[int] = []
    for escaped, plain in _LETTER.findall(text):
        if escaped:
            if escaped not in _ESCAPES:
                raise ValueError(rf"has a backslash before {escaped!r}; write \\ for one, or take single quotes")
            letters.append(_ESCAPES[escaped])
            continue
        if plain == "$":
            dollars.append(len(letters))
        letters.append(plain)
    return "".join(letters), dollars


def _replace(text: str, dollars: list[int], known: Mapping[str, str], above: Mapping[str, str]) -> str:
    # The last one first, as Laravel does: ${A${B}} looks for a variable whose name B completes.
    for place in reversed(dollars):
        match = _VARIABLE.match(text, place)
        if match is not None:
            text = text[:place] + known.get(match[1], above.get(match[1], match[0])) + text[match.end() :]
    return text
