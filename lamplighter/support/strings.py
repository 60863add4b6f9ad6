"""Names and secrets."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

SECRET = re.compile(
    r"passw(or)?d|passphrase|(^|[_.-])pwd$|secret|token|(^|[_.-]|api|access)key$|credential|authorization|dsn"
    r"|^options$|_options$",
    re.IGNORECASE,
)
# The user and the password before the last @ of an address; a password may hold a slash or another @, as SQLAlchemy
# reads them. Then a password among an address's or a libpq string's parameters.
CREDENTIALS = re.compile(
    r"(?<=://)(?:[^\s/?#@]*:\S*|[^\s/?#@]+)(?=@)|(?<=password=)[^\s&]+|(?<=passwd=)[^\s&]+", re.IGNORECASE
)
MASK = "********"


def snake(name: str) -> str:
    """`SendMail` as `send_mail`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).replace("-", "_").lower()


def studly(name: str) -> str:
    """`send_mail` as `SendMail`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[_\-\s]+", name) if word)


def slug(name: str) -> str:
    """`Data Store` as `data-store`, as Laravel puts it before keys; empty where no letter is Latin."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = plain.replace("_", "-").replace("@", "-at-")
    return re.sub(r"[\s-]+", "-", re.sub(r"[^a-z0-9\s-]", "", plain)).strip("-")


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold a text: not one with a byte of the command line or of a variable that is none.

    Python reads such a byte as half of a surrogate pair, and some native clients end the interpreter when given one.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_secret(name: str) -> bool:
    """Whether what goes by this name is nothing to show."""
    return SECRET.search(name) is not None


def mask_secrets(value: Any, key: str = "") -> Any:
    """A copy in which passwords, tokens, raw options and the credentials of URLs are hidden."""
    if key and is_secret(key) and value not in (None, "", {}, []):
        return MASK
    if isinstance(value, Mapping):
        return {name: mask_secrets(entry, str(name)) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [mask_secrets(entry) for entry in value]
    return CREDENTIALS.sub(MASK, value) if isinstance(value, str) else value


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """The known words that are near, the nearest first; 1 as `cutoff` takes only the word itself."""
    return difflib.get_close_matches(word, list(known), n=3, cutoff=cutoff)


def is_slip(word: str, known: str) -> bool:
    """Whether two words are the same but for one letter, or for two neighbours that have changed places."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(word, known, strict=False)))
    left, right = word[same:], known[same:]
    swapped = left[:2][::-1] + left[2:]
    return right == swapped or left[1:] in (right, right[1:]) or left == right[1:]
