"""Objects that are never freed."""

import ctypes

_incref = ctypes.pythonapi.Py_IncRef
_incref.argtypes = [ctypes.py_object]
_incref.restype = None


def keep_for_ever(*things: object) -> None:
    """Never free these, not even when the interpreter ends, which empties modules and lists as well.

    For a child of a fork, and what its parent has made: freeing a client of librdkafka waits for threads that are not
    there, and freeing a connection may speak to its server.
    """
    for thing in things:
        _incref(thing)
