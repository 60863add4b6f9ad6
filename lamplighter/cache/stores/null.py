"""A store that forgets at once."""

from lamplighter.cache.stores.array import ArrayStore


class NullStore(ArrayStore):
    """Takes every value and keeps none; its locks are always free."""

    def put(self, key: str, value: object, ttl: float | None) -> bool:
        """Keep nothing."""
        return True

    def increment(self, key: str, by: int = 1) -> int:
        """Keep nothing; what 0 would be then."""
        return by
