"""Which environment an application runs in, and the file that its variables come from."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lamplighter.errors import ConfigError
from lamplighter.support.dotenv import WrongLine, read_dotenv
from lamplighter.support.env import meaning

PRODUCTION = "production"
FILE = ".env"
# In the environment itself, so that child processes know it, too: Symfony keeps SYMFONY_DOTENV_VARS for the same end.
MEMORY = "LAMPLIGHTER_ENV_FILE"


@dataclass(frozen=True, slots=True)
class Environment:
    """The name of an environment, and where its variables come from.

    Attributes:
        file: the file that was read; None where there was none.
        missing: the file of its own that `--env` asks for and that there is not.
        is_inherited: a process of the same application has started this one, and has said what there was to say.
    """

    name: str
    file: str | None
    missing: str | None = None
    is_inherited: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What an application has put into the environment of its process and of its children.

    Attributes:
        base: the folder of the application.
        process: its process.
        asked: the environment that `--env` named.
        given: a digest of each value that came from its file, by the variable's name.
    """

    base: str = ""
    process: int = 0
    asked: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Memory":
        """What is remembered in this process; nothing where that can't be read."""
        try:
            base, process, asked, given = json.loads(os.environ.get(MEMORY, ""))
            return cls(str(base), int(process), None if asked is None else str(asked), dict(given))
        except (ValueError, TypeError):
            return cls()

    def gave(self, name: str, value: str) -> bool:
        """Whether this value is a file's; one that was set since then is not."""
        return self.given.get(name) == _digest(value)

    def is_from_above(self, base: Path) -> bool:
        """Whether a process of this application, in this folder, has started this process."""
        return self.base == str(base) and self.process != os.getpid()

    def write(self) -> None:
        """Remember."""
        os.environ[MEMORY] = json.dumps([self.base, self.process, self.asked, dict(self.given)])


def is_production(name: str) -> bool:
    """Whether an environment of this name is guarded as production: `PRODUCTION` and `prod` are, too."""
    return name.strip().casefold() in (PRODUCTION, "prod")


def canonical(name: str) -> str:
    """The name as it is compared: `production` in whatever letters it is written."""
    return PRODUCTION if name.strip().casefold() == PRODUCTION else name


def load_environment(base: Path, asked: str | None = None) -> Environment:
    """Put the variables of `.env.{name}`, or else those of `.env`, into the environment of this process.

    The name is what `--env` asks for, else APP_ENV. Variables of the real environment win over those of a file. A file
    that was read before is forgotten: its variables go, in a child process as well.

    Raises:
        ConfigError: the file can't be read, or something else is in its place; or there is none of that name, and the
            plain one is production's.
    """
    memory = Memory.read()
    real = {name: value for name, value in os.environ.items() if name != MEMORY and not memory.gave(name, value)}
    is_inherited = memory.is_from_above(base)
    if is_inherited and asked is None:
        asked = memory.asked
    wanted = asked or _said(real)
    names = [f"{FILE}.{wanted}", FILE] if wanted else [FILE]
    if wanted and not _is_there(base / names[0]):
        names[0] = f"{FILE}.{canonical(wanted)}"
    file = next((name for name in names if _is_there(base / name)), None)
    values = _read(base / file, real) if file else {}
    if wanted and not is_production(wanted) and file != names[0]:
        _refuse_production(wanted, file, by_option=asked is not None, real=_said(real), written=_said(values))
    _replace(memory, base, asked, {name: value for name, value in values.items() if name not in real})
    said = _said(real) or _said(values)
    name = said if said and is_production(said) else asked or said or PRODUCTION
    return Environment(canonical(name), file, names[0] if asked and file == FILE else None, is_inherited)


def _refuse_production(
    wanted: str, file: str | None, *, by_option: bool, real: str | None, written: str | None
) -> None:
    """A name that is mistyped must not talk a dangerous command out of its question."""
    said = real or written or PRODUCTION
    if by_option and is_production(said):
        source = "the real APP_ENV says" if real else f"{file} says" if written else "without APP_ENV it is"
    elif written and is_production(written):
        said, source = written, f"{file} says"
    else:
        return
    raise ConfigError(
        f"There is no {FILE}.{wanted}, and {source} {said}: a command for {wanted} would work on {PRODUCTION}. "
        f"If {wanted!r} is not mistyped, write {FILE}.{wanted}."
    )


def _said(values: Mapping[str, str]) -> str | None:
    said = meaning(values.get("APP_ENV", ""))
    return str(said) if said else None


def _is_there(path: Path) -> bool:
    """Whether there is such a file; settings must not fall back to their defaults because something else is there."""
    if os.path.isfile(path):  # noqa: PTH113  # the method raises where the name is too long
        return True
    # A container hides a file behind /dev/null.
    if not os.path.lexists(path) or path.is_char_device():
        return False
    what = "a folder, as a container makes for a file that its host does not have" if path.is_dir() else "no file"
    if path.is_symlink() and not path.exists():
        what = f"a link to {os.readlink(path)}, which is not there"  # noqa: PTH115  # the text as it stands
    raise ConfigError(f"{path.name} can't be read: it is {what}. Put the file there, or remove it.")


def _read(path: Path, real: Mapping[str, str]) -> dict[str, str]:
    try:
        return read_dotenv(path.read_bytes().decode("utf-8-sig"), real)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path.name} can't be read: {error.reason} at byte {error.start}. Save it as UTF-8."
        ) from None
    except WrongLine as error:
        raise ConfigError(f"{path.name} can't be read: {error}.") from None
    except OSError as error:
        raise ConfigError(f"{path.name} can't be read: {error.strerror}.") from error


def _replace(memory: Memory, base: Path, asked: str | None, values: Mapping[str, str]) -> None:
    """Let the values of this file take the place of those of the last one; no variable is missing in between."""
    for name in memory.given:
        if name not in values and memory.gave(name, os.environ.get(name, "")):
            os.environ.pop(name, None)
    os.environ.update(values)
    Memory(str(base), os.getpid(), asked, {name: _digest(value) for name, value in values.items()}).write()


def _digest(value: str) -> str:
    # Short on purpose: it tells two values apart, and no secret.
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()[:8]
