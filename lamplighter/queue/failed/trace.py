"""An error as the failed-job store keeps it: with its trace, without the values that its functions held."""

import traceback

MAX_BYTES = 16 * 1024
CUT = "\n… {count} bytes left out …\n"


def format_trace(error: BaseException) -> str:
    """The error and what led to it, at most 16 kB, both ends kept; ready for every database."""
    text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
    data = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) > MAX_BYTES:
        half = (MAX_BYTES - 64) // 2
        middle = CUT.format(count=len(data) - 2 * half).encode()
        data = data[:half] + middle + data[-half:]
    return data.decode("utf-8", "ignore")
