"""The machinery behind `make:*`: a stub, a name, and a file where Laravel would put it."""

import keyword
import os
import re
from pathlib import Path

from lamplighter.console.output import Output
from lamplighter.errors import ConsoleError
from lamplighter.support.files import replacing, write_new
from lamplighter.support.strings import snake, studly


class Generator:
    """Writes source files into the folders of an application."""

    def __init__(self, base_path: Path) -> None:
        self._base_path = base_path

    def create(self, kind: str, name: str, folder: str, stub: str, *, force: bool = False) -> Path:
        """Write one file and give its path.

        Args:
            kind: what it is, as messages name it: "Job".
            name: the class, with folders above it: "Admin/SendMail" becomes `Admin/send_mail.py`.
            folder: where this kind lives, from the base path: "app/Jobs".
            stub: the text; `{{ class }}`, `{{ module }}`, `{{ package }}` and `{{ name }}` (dotted: "admin.send_mail")
                are filled in.
            force: overwrite a file that is there.

        Raises:
            ConsoleError: the name can't be one in Python, the file is there, or it can't be written.
        """
        words = _words(name)
        if not words:
            raise ConsoleError(f"{kind} needs a name.")
        *above, last = words
        class_name, module = studly(last), snake(last)
        for word in (class_name, module, *above):
            _check(kind, word)
        if re.search(rf"^(from|import)\b.*\b{class_name}\b", stub, re.MULTILINE):
            raise ConsoleError(f"{kind} can't be named {class_name!r}: the file needs another class of that name.")
        target = self._base_path.joinpath(folder, *above, f"{module}.py")
        shown = target.relative_to(self._base_path).as_posix()
        package = ".".join([*Path(folder).parts, *above])
        values = {
            "class": class_name,
            "module": f"{package}.{module}",
            "package": package,
            "name": ".".join(snake(word) for word in (*above, last)),
        }
        text = _filled(stub, values)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # All of it, or nothing: half a file would keep the application from starting.
            (_overwrite if force else write_new)(target, text)
        except OSError as error:
            if isinstance(error, FileExistsError) and target.exists():
                raise ConsoleError(f"{kind} [{shown}] already exists. Add --force to overwrite it.") from error
            raise ConsoleError(f"{kind} [{shown}] can't be written: {error.strerror}.") from error
        return target

    def target(self, name: str, path: Path) -> str:
        """The class of that name in the file that was made for it, as tables of commands and providers want it."""
        module = ".".join(path.relative_to(self._base_path).with_suffix("").parts)
        return f"{module}:{studly(_words(name)[-1])}"

    def announce(self, output: Output, kind: str, path: Path) -> None:
        """Tell that a file was written."""
        output.info(f"{kind} [{path.relative_to(self._base_path).as_posix()}] created successfully.")


def _overwrite(target: Path, text: str) -> None:
    draft = target.with_suffix(f".{os.getpid()}")
    with replacing(target, draft):
        draft.write_text(text, encoding="utf-8")


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[/\\.]", name.removesuffix(".py")) if word]


def _check(kind: str, word: str) -> None:
    if not word.isidentifier() or not word.isascii():
        raise ConsoleError(f"{kind} can't be named {word!r}: a name has letters, digits and underscores.")
    if word.startswith("__"):
        raise ConsoleError(f"{kind} can't be named {word!r}: Python keeps such files for itself.")
    if keyword.iskeyword(word):
        raise ConsoleError(f"{kind} can't be named {word!r}: Python keeps that word for itself.")


def _filled(stub: str, values: dict[str, str]) -> str:
    return re.sub(r"\{\{ (\w+) \}\}", lambda match: values[match[1]], stub)
