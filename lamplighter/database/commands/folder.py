"""Where migrations lie, and how their run is shown."""

from lamplighter.console.output import Output
from lamplighter.database.migrations import Told

FOLDER = "database/migrations"


def tell(output: Output) -> Told:
    """Shows each migration that has run, with its milliseconds."""

    def told(name: str, seconds: float) -> None:
        output.two_column(name, f"{seconds * 1000:,.2f}ms DONE", style="green")

    return told
