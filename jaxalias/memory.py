"""Freed memory kept for the next update, and found at once: up to half of the time of an update on a CPU.

XLA allocates the buffers of each call anew on a CPU, and of each matrix product within it: 50 to 200 MB once and 64 KB
ten thousands of times in an update of a WaveNet. glibc gives large blocks back to the system when they are freed, and
the kernel clears every page of the next ones. Compilation leaves a hundred thousand free blocks of all sizes, which
glibc searches for each small buffer, while the other threads wait. Measured: experiments/BENCHMARKS.md, "Memory".
Source: mallopt(3), and `malloc.c` of glibc.
"""

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # of glibc's `malloc.h`, without their M_
_USUAL = {_MMAP_MAX: 1 << 16, _MMAP_THRESHOLD: 1 << 25, _TRIM_THRESHOLD: 1 << 26}
"""What the allocator has by itself where large blocks are in use: its thresholds have grown to these by then."""
_LARGEST, _SMALLEST = 1 << 28, 1 << 14  # bytes of the gaps that are filled; smaller ones cost nothing

_shared = False  # the state of this process's allocator


def share_heap() -> None:
    """Let all threads that begin later use one heap, which `kept` needs. Call it before JAX's first computation.

    Does nothing where the C library is not glibc.
    """
    global _shared
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
        _shared = True


@contextmanager
def kept() -> Iterator[Callable[[], None]]:
    """Keep what is freed within the block for the next allocation; give it back to the system at the end of the block.

    Gives a function that fills the gaps that earlier allocations left, so that buffers come from the end of the heap.
    It is called at the beginning of the block; call it again after compilation. Without `share_heap` nothing happens.
    One block may not contain another.

    Example:
        >>> with kept() as fill:
        ...     total = sum(range(10))
        ...     fill()
    """
    if not _shared:
        yield lambda: None
        return
    heap = _Heap()
    heap.library.mallopt(_MMAP_MAX, 0)
    heap.library.mallopt(_TRIM_THRESHOLD, -1)
    try:
        heap.fill()
        yield heap.fill
    finally:
        heap.empty()
        for setting, value in _USUAL.items():
            heap.library.mallopt(setting, value)
        heap.library.malloc_trim(0)


class _Heap:
    """The heap of the process, and the blocks that fill its gaps. Their pages belong to the system meanwhile."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(None)
        self.library.malloc.restype = self.library.sbrk.restype = ctypes.c_void_p
        self.library.malloc.argtypes = [ctypes.c_size_t]
        self.library.sbrk.argtypes = [ctypes.c_ssize_t]
        self.library.free.argtypes = [ctypes.c_void_p]
        self.fillings: list[int] = []

    def fill(self) -> None:
        """Occupy every gap, the largest first, until an allocation comes from the end of the heap."""
        self.library.malloc_trim(0)
        end, size = self.library.sbrk(0), _LARGEST
        while size >= _SMALLEST:
            block = self.library.malloc(size)
            if block and block < end:
                self.fillings.append(block)
                continue
            self.library.free(block)
            size = size * 15 // 16

    def empty(self) -> None:
        """Free the blocks."""
        while self.fillings:
            self.library.free(self.fillings.pop())
