"""What has to be said of a signal that goes by a cache which not every worker sees."""

from lamplighter.cache.repository import Cache
from lamplighter.console.output import Output

LIMITED = {
    "process": "The cache store keeps nothing beyond this process: no worker will see the signal. "
    "Set CACHE_STORE=redis.",
    "host": "The cache store is this host's own: workers on other hosts or in other containers will not see the "
    "signal. Set CACHE_STORE=redis to reach them.",
}


def warn_of_limits(cache: Cache, output: Output) -> None:
    """Say how far a signal reaches, unless it reaches every worker."""
    limit = LIMITED.get(cache.reach)
    if limit is not None:
        output.warn(limit)
