"""Keeps glibc from holding on to the memory of fetched messages."""

import ctypes

M_TRIM_THRESHOLD = -1  # from malloc.h
THRESHOLD = 128 * 1024  # glibc's own first value


def fix_thresholds() -> None:
    """Let large blocks go back to the system for good.

    glibc raises its thresholds each time a large block is freed, up to 32 MB, so that the buffers of fetches end on
    the heap and leave holes there: 8 MiB more after a million jobs. Setting one of them by hand ends that (mallopt(3)).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, THRESHOLD)
