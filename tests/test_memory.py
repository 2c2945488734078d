"""Freed memory: within `kept`, a repeated call gets pages that the kernel need not clear again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import contextlib, resource
import jax, jax.numpy as jnp
from jaxalias import memory

{start}
f = jax.jit(lambda x: jnp.cumsum(jnp.outer(x, x), axis=0)[-1])  # 64 MiB between its input and its output
with {block}:
    for call in range(20):  # the first calls still find holes of the wrong size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        f(jnp.ones(4096)).block_until_ready()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    held = int(open("/proc/self/statm").read().split()[1])
print(held - int(open("/proc/self/statm").read().split()[1]))
"""


def pages(start: str, block: str) -> tuple[int, int]:
    """Pages that the kernel provides during the last of equal calls, and those that it gets back as the block ends."""
    code = FAULTS.format(start=start, block=block)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    provided, returned = done.stdout.split()
    return int(provided), int(returned)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_repeated_call_gets_the_pages_of_the_call_before_and_the_end_gives_them_back() -> None:
    provided, returned = pages("memory.share_heap()", "memory.kept()")
    without, _ = pages("", "contextlib.nullcontext()")
    assert provided < 0.01 * without
    assert returned > 0.9 * without  # all that a call needs


GAPS = """
import ctypes
from jaxalias import memory

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
memory.share_heap()
blocks = [library.malloc(100_000) for _ in range(200)]
for block in blocks[::2]:
    library.free(block)  # gaps, none of which is beside another

def reused():
    found = [library.malloc(100_000) for _ in range(100)]
    for block in found:
        library.free(block)
    return sum(block < max(blocks) for block in found)

before = reused()
with memory.kept() as fill:
    filled = reused()
    library.free(blocks[1])
    again = reused()
    fill()
    refilled = reused()
print(before, filled, again, refilled, reused())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_gaps_of_the_heap_are_filled_within_the_block_and_free_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", GAPS], capture_output=True, text=True, check=True)
    before, filled, again, refilled, after = map(int, done.stdout.split())
    assert before > 90
    assert filled < again < 5
    assert refilled < again
    assert after > 90


OTHER = """
import platform
from jaxalias import memory

platform.libc_ver = lambda: ("", "")
memory.ctypes.CDLL = None  # raises if it is called
memory.share_heap()
with memory.kept() as fill:
    fill()
"""


def test_another_c_library_is_left_as_it_is() -> None:
    subprocess.run([sys.executable, "-c", OTHER], check=True)
