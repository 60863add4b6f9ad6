"""Large payloads of a leasing connection: which keys tell where they are kept."""

from dataclasses import dataclass

from lamplighter.errors import ConfigError
from lamplighter.queue.claims.check import ClaimCheck
from lamplighter.queue.claims.folder import FileClaims, folder_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOptions:
    """The keys of a connection that are the same for each store.

    Attributes:
        claim_check: a folder that every dispatcher and worker reaches: payloads of more than `claim_above` bytes, and
            those that the store refuses for their size, are kept there, and a small one names the file; empty is off.
    """

    claim_check: str | None = ""
    claim_above: int = 512 * 1024


def make_claims(settings: ClaimOptions, *, where: str) -> ClaimCheck | None:
    """What puts payloads aside; None where nothing does.

    Raises:
        ConfigError: the folder may be another one for each process, or the number is negative.
    """
    if settings.claim_above < 0:
        raise ConfigError(f"{where} has {settings.claim_above} for the key 'claim_above', which takes bytes from 0.")
    folder = folder_of(settings.claim_check, where=where)
    if folder is None:
        return None
    return ClaimCheck(FileClaims(folder), above=settings.claim_above, in_payload=True)
