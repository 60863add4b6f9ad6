"""What the garbage collector may leave alone in a process that runs jobs."""

import gc

LEAST = 10_000  # new objects until the youngest are looked at; CPython's 700 (2,000 from 3.13 on) come with each fetch


def spare_the_collector() -> None:
    """Keep what the application was booted with out of every later collection, and collect less often.

    What an application has chosen itself stays: a collector that is off, or a higher threshold.
    """
    gc.collect()
    gc.freeze()
    youngest, *older = gc.get_threshold()
    if youngest:
        gc.set_threshold(max(youngest, LEAST), *older)
