"""Keys that every store can hold, and of which no value's is a lock's."""

from lamplighter.errors import CacheError
from lamplighter.support.strings import is_utf8

LOCK = "\0lock:"  # before the name of a lock that is kept beside values


def value_key(key: str) -> str:
    """The key of a value.

    Raises:
        CacheError: it is no UTF-8, or begins as the keys of locks do.
    """
    if key.startswith(LOCK):
        raise CacheError(f"The cache keeps no value under {key!r}: locks have the keys that begin with {LOCK!r}.")
    return _as_utf8(key, "key")


def lock_name(name: str) -> str:
    """The name of a lock.

    Raises:
        CacheError: it is no UTF-8.
    """
    return _as_utf8(name, "lock")


def lock_owner(owner: str) -> str:
    """The owner of a lock.

    Raises:
        CacheError: it is no UTF-8.
    """
    return _as_utf8(owner, "owner of a lock")


def _as_utf8(text: str, what: str) -> str:
    if not is_utf8(text):
        raise CacheError(f"The cache can have no {what} {text!r}: it holds half a surrogate pair.")
    return text
