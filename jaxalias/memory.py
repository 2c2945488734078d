"""Freed memory kept for the next update, so that the kernel need not clear it again: up to a third of an update.

XLA allocates the buffers of each call anew on a CPU. glibc gives a large block back to the system when it is freed, and
the kernel clears every page of the next one. Measured: experiments/BENCHMARKS.md, "Memory". Source: mallopt(3).
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # of glibc's `malloc.h`, without their M_
_USUAL = {_MMAP_MAX: 1 << 16, _MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26}
"""What the allocator has by itself where large blocks are in use: its thresholds have grown to these by then."""


def share_heap() -> None:
    """Let all threads that begin later use one heap, which `kept` needs. Call it before JAX's first computation.

    Does nothing where the C library is not glibc.
    """
    if _is_glibc():
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


@contextmanager
def kept() -> Iterator[None]:
    """Keep what is freed within the block for the next allocation; give it back to the system at the end of the block.

    Without `share_heap` it saves next to nothing; where the C library is not glibc it does nothing. One block may not
    contain another.

    Example:
        >>> with kept():
        ...     total = sum(range(10))
    """
    if not _is_glibc():
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for setting, value in _USUAL.items():
            library.mallopt(setting, value)
        library.malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
