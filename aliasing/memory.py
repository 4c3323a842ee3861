"""Keeping freed memory for the next layer, instead of returning it to the system (glibc only).

The feature maps of a batch are larger than the 32 MiB above which glibc's ``malloc`` maps fresh pages for every request
and unmaps them on release, so the kernel zeroes tens of megabytes for every layer. If freed memory is kept, the same
network on the same batch runs up to 2.5 times as fast on two cores (``benchmarks/diary.md``).
"""

import ctypes
import sys
from typing import Any

# malloc.h: parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Keep freed memory for the next request, instead of returning it to the system at once.

    The process then holds as much memory as it needed at its peak. Returns whether the allocator agreed; without glibc
    nothing happens.
    """
    mallopt = _glibc("mallopt")
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def return_freed_memory() -> bool:
    """Return freed memory to the system, once; returns whether there was any.

    oneDNN asks for aligned memory, which glibc before 2.38 reuses less and less: a long run grows by a megabyte with
    every batch unless this is called from time to time. Mapping a network's maps again takes about 0.1 s.
    """
    malloc_trim = _glibc("malloc_trim")
    return malloc_trim is not None and bool(malloc_trim(0))


def _glibc(name: str) -> Any:
    """A function of the GNU C library; None with another library, such as musl, or another system than Linux."""
    try:
        return getattr(ctypes.CDLL(None), name) if sys.platform.startswith("linux") else None
    except (AttributeError, OSError):
        return None
