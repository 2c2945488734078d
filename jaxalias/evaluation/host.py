"""The device for measurements in float64 and complex128, which TPUs and some other accelerators lack.

Models run on the default device in their own precision. Their outputs are analysed on the default device if it
supports double precision, and otherwise on the host's CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp

P = ParamSpec("P")
R = TypeVar("R")


def measuring_device() -> jax.Device:
    """The first device of this host, or its CPU if the device cannot compute an FFT in float64.

    Raises:
        RuntimeError: JAX may not use the CPU. The message says how to allow it.
    """
    first = jax.local_devices()[0]
    if can_measure(first):
        return first
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise RuntimeError(
            f"{first} cannot compute in double precision, and JAX was not given the CPU beside it: "
            "name it too, as in JAX_PLATFORMS=tpu,cpu"
        ) from error


@lru_cache
def can_measure(device: jax.Device) -> bool:
    """True if an FFT of float64 numbers succeeds. 64-bit mode must be on (`dsp.require_precision`)."""
    if device.platform in ("cpu", "gpu"):
        return True
    try:
        with jax.default_device(device):
            spectrum = jax.block_until_ready(jnp.fft.rfft(jnp.arange(8.0, dtype=jnp.float64)))
    except Exception:  # platforms raise different errors here
        return False
    return bool(spectrum.dtype == jnp.complex128)


@contextmanager
def double_precision() -> Iterator[None]:
    """Compute on the measuring device."""
    device = measuring_device()
    if device == jax.local_devices()[0]:  # the default device: no function has to be compiled again
        yield
    else:
        with jax.default_device(device):
            yield


def in_double_precision(f: Callable[P, R]) -> Callable[P, R]:
    """The same function, computed on the measuring device."""

    @wraps(f)
    def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        with double_precision():
            return f(*args, **kwargs)

    return measured
