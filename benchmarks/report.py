"""What a measurement says: rows of the table, and why there is none."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


class NotMeasured(Exception):
    """A measurement came to nothing; the message is the reason, and stands in the table."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    ours: str = ""
    limit: str = ""
    compared: str = ""

    def as_markdown(self) -> str:
        """The line; a bar would end a cell."""
        cells = (self.what, self.ours, self.limit, self.compared)
        return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


HEAD = "| what | Lamplighter | the loop, or the peer | compared |\n|---|--:|--:|---|"


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, with the least and the most where there are several."""
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def ratio(ours: Sequence[float], limit: Sequence[float]) -> str:
    """The median of the pairs' ratios, with their spread: pairs ran side by side, the machine's drift cancels out."""
    return spread([one / other for one, other in zip(ours, limit, strict=True)], ".2f")


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which `part` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
