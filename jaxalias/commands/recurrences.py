"""The LSTM's recurrence on a GPU three ways, in float32: the fused kernel, the scan, and cuDNN's LSTM.

Time of each, in turns, and how far its results or gradients lie from those of the scan in float64: this is
also the check of the kernel on a GPU. Without one it is refused.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn

from jaxalias.commands import benchmark, command_line, errors, overwriting, parsing, writing
from jaxalias.commands.stages import Work
from jaxalias.models import lstm, lstm_kernel

Recurrence = Callable[[dict, jax.Array, tuple], tuple]


def main() -> None:
    """The command."""
    args = parse_arguments()
    overwriting.refuse(args, [], [])
    if jax.default_backend() != "gpu":
        raise errors.BadInputError(f"needs a GPU that JAX sees (jax[cuda13]), got {jax.default_backend()}")
    work = draw(args.hidden, args.batch, args.samples, args.inputs)
    rows = [row for gradient in (False, True) for row in compare(WAYS, work, args.repeats, gradient=gradient)]
    shape = f"{args.hidden} hidden units, {args.batch} signals of {args.samples} samples"
    table = [["work", "way", "ms, median (min-max)", "error"]]
    for row in rows:
        low, middle, high = (f"{1e3 * row[key]:.3g}" for key in ("min_s", "median_s", "max_s"))
        table.append([row["work"], row["way"], f"{middle} ({low}-{high})", f"{row['error']:.1e}"])
    writing.print_table(table, f"{shape}: time of a run, error relative to float64")
    if args.json:
        writing.write_json(args.json, {"rows": rows, "environment": writing.environment()})


def parse_arguments() -> Any:
    """The options."""
    parser = parsing.Parser(__doc__)
    for name, default in (("hidden", 40), ("batch", 40), ("samples", 4_410), ("inputs", 1), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=parsing.positive_int, default=default, metavar="N", help="count")
    args = parser.parse_args()
    if args.hidden > lstm_kernel.HIDDEN_LIMIT:
        parser.error(f"--hidden: the kernel takes {lstm_kernel.HIDDEN_LIMIT} at most, got {args.hidden}")
    return args


def draw(hidden: int, batch: int, samples: int, inputs: int) -> tuple:
    """Arguments of a recurrence in float64, seeded: weights as PyTorch begins with, noise, a random state."""
    random = np.random.default_rng(0)
    shapes = {"input": (4 * hidden, inputs), "hidden": (4 * hidden, hidden), "bias": (4 * hidden,)}
    cell = {name: random.uniform(-1, 1, shape) * hidden**-0.5 for name, shape in shapes.items()}
    state = tuple(random.uniform(-0.5, 0.5, (2, batch, hidden)))
    return jax.tree.map(jnp.asarray, (cell, random.uniform(-0.5, 0.5, (samples, batch, inputs)), state))


def compare(ways: dict[str, Recurrence], arguments: tuple, repeats: int, *, gradient: bool) -> list[dict[str, Any]]:
    """A row for each way; arguments in float64."""

    def work_of(recurrence: Recurrence) -> Callable[..., Any]:
        def power(*arguments: Any) -> jax.Array:
            hiddens, end = recurrence(*arguments)
            return jnp.mean(hiddens**2) + sum(jnp.mean(part**2) for part in end)

        return jax.jit(jax.grad(power, argnums=(0, 1, 2)) if gradient else recurrence)

    def turned(name: str, arrays: tuple, place: int) -> tuple:
        """The same tuple, its array of all times turned for the way that has signals first."""
        if name != "cudnn":
            return arrays
        return (*arrays[:place], arrays[place].swapaxes(0, 1), *arrays[place + 1 :])

    wanted = work_of(lstm.recurrence)(*arguments)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), arguments)
    works: dict[str, Work] = {name: partial(work_of(way), *turned(name, single, 1)) for name, way in ways.items()}
    errors = {}
    for name, work in works.items():
        found = turned(name, work(), 1 if gradient else 0)
        off = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max() / jnp.abs(b).max()), found, wanted)
        errors[name] = max(jax.tree.leaves(off))
    rows = []
    for name, seconds in benchmark.alternate(works, repeats).items():
        rows.append({
            "work": "gradient" if gradient else "forward", "way": name, "error": errors[name],
            "median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds),
        })  # fmt: skip
    return rows


def cudnn(cell: dict[str, jax.Array], x: jax.Array, state: tuple) -> tuple:
    """`lstm.recurrence` by cuDNN: signals lead in x and in the hidden states, layers have an axis, no TF32.

    Whoever calls it turns x, in a program of its own: transposed in the same one, cuDNN got x as it lay in memory
    before, and its results were wrong (JAX 0.11.2).
    """
    batch, steps, inputs = x.shape
    hiddens, hidden, cell_state = rnn.lstm(
        x, state[0][None], state[1][None], pack(cell), jnp.full(batch, steps, jnp.int32),
        inputs, cell["hidden"].shape[1], 1, 0.0, False, jax.lax.Precision.HIGHEST,
    )  # fmt: skip
    return hiddens, (hidden[0], cell_state[0])


def pack(cell: dict[str, jax.Array]) -> jax.Array:
    """cuDNN's one vector of weights: input, hidden, then two biases, of which one is zero; gates i, f, g, o."""
    parts = (cell["input"], cell["hidden"], cell["bias"], jnp.zeros_like(cell["bias"]))
    return jnp.concatenate([part.ravel() for part in parts])


WAYS: dict[str, Recurrence] = {"kernel": lstm_kernel.recurrence, "scan": lstm.recurrence, "cudnn": cudnn}

if __name__ == "__main__":
    command_line.run(main)
