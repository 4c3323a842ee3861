"""Why is half of a convolution's time spent on memory that it had a moment ago?

The feature maps of a batch are larger than the 32 MiB above which glibc's ``malloc`` maps fresh pages for every
request and gives them back on release, so the kernel zeroes tens of megabytes for every layer. Told to keep what it
was given, the same network on the same batch runs up to 2.5 times as fast on two cores (``benchmarks/README.md``).
"""

import ctypes
import sys

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
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
