"""Freed memory: within `kept`, a repeated call gets pages that the kernel need not clear again."""

import platform
import subprocess
import sys

import pytest

from jaxalias import memory

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


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    memory.share_heap()
    with memory.kept():
        pass
