"""Why is half of a convolution's time spent on memory that it had a moment ago?

The feature maps of a batch are larger than the 32 MiB above which glibc's ``malloc`` maps fresh pages for every
request and gives them back on release, so the kernel zeroes tens of megabytes for every layer. Told to keep what it
was given, the same network on the same batch runs up to 2.5 times as fast on two cores (``benchmarks/README.md``).
"""

import ctypes
import sys
from typing import Any

# malloc.h: parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next request, instead of returning it to the system at once.

    The process then holds its peak; it holds no more than that. Only glibc is asked; elsewhere nothing happens.

    Returns
    -------
    bool
        Whether the allocator agreed.
    """
    mallopt = _glibc("mallopt")
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def return_freed_memory() -> bool:
    """Give the system back what is freed, once.

    oneDNN asks for aligned memory, of which glibc before 2.38 finds less and less again among what was freed: a long
    run grows by a megabyte with every batch, unless this is called from time to time. What is needed again is then
    mapped anew, some 0.1 s for a network's maps.

    Returns
    -------
    bool
        Whether there was any.
    """
    malloc_trim = _glibc("malloc_trim")
    return malloc_trim is not None and bool(malloc_trim(0))


def _glibc(name: str) -> Any:
    """A function of the GNU C library; None with another one, such as musl, and elsewhere than on Linux."""
    try:
        return getattr(ctypes.CDLL(None), name) if sys.platform.startswith("linux") else None
    except (AttributeError, OSError):
        return None
