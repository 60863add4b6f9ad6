"""Why a job has failed, in one line."""

import re

MAX_LENGTH = 255
LINK = re.compile(
    r"^(?:The above exception was the direct cause|During handling of the above exception).*:$", re.MULTILINE
)
FRAME = re.compile(r'^  File ".*$', re.MULTILINE)
PASSED_OVER = re.compile(r"Traceback \(most recent call last\):|\u2026 \d+ bytes left out \u2026|\s|$")


def reason_of(exception: str) -> str:
    """What the error said, from the text that a store keeps of it: of a chain of errors the last one.

    The first line behind Python's last frame; PHP writes its error before all frames. Empty where nothing is kept.
    """
    text = exception
    for mark in (LINK, FRAME):
        for found in [*mark.finditer(text)][-1:]:
            text = text[found.end() :]
    lines = text.splitlines()
    reason = next((line for line in lines if not PASSED_OVER.match(line)), "")
    return (reason or text.strip().partition("\n")[0])[:MAX_LENGTH]
