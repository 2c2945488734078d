"""Train an LSTM on the built-in virtual device and write it as a GuitarML .json: a model to de-alias."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import command_line, devices
from jaxalias import dsp, losses, models
from jaxalias.config import LSTMConfig

SAMPLE_RATE = 44_100
WARM_UP, FRAME = 1_000, 2_048  # samples (section 3.2)
SIGNAL_S, BATCH = 40.0, 40
PRE_EMPHASIS = np.array([0.0, 1.0, -0.95])  # y[n] - 0.95 y[n - 1]: edges count, not only the fundamental


def main() -> None:
    """The command."""
    parser = command_line.Parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the model")
    parser.add_argument("--hidden-size", type=command_line.positive_int, default=16, metavar="H", help="of the LSTM")
    parser.add_argument(
        "--updates", type=command_line.positive_int, default=5000, metavar="N", help="optimiser updates"
    )
    parser.add_argument("--seed", type=command_line.natural_int, default=0, metavar="N", help="of weights and signal")
    args = parser.parse_args()

    config = LSTMConfig(hidden_size=args.hidden_size)
    params, error = train(config, args.updates, args.seed, args.quiet)
    quality = f"ESR {10 * np.log10(error):.1f} dB on new signal of its virtual device"
    write_guitarml(args.output, config, params, quality)
    print(f"{quality}\nwrote {args.output}")
    if args.json:
        command_line.write_json(args.json, {"esr_db": 10 * np.log10(error), "output": str(args.output)})


def train(config: LSTMConfig, updates: int, seed: int, quiet: bool) -> tuple[models.Params, float]:
    """ESR of the pre-emphasised signals + DC, Adam with cosine decay, TBPTT.

    Returns:
        The parameters, and the ESR (a ratio, no pre-emphasis) on a signal not trained on.
    """
    model = models.build(config)
    x, y = (_segments(signal) for signal in _pair(SIGNAL_S, seed))
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(5e-3, updates)))

    @jax.jit
    def update(params: models.Params, moments: optax.OptState, memory: models.State, start: jax.Array) -> tuple:
        inputs, targets = (jax.lax.dynamic_slice_in_dim(signal, start, FRAME, axis=1) for signal in (x, y))

        def loss(params: models.Params) -> tuple:
            estimate, after = model.apply(params, inputs, memory)
            heard, wanted = (dsp.filter_same(signal, PRE_EMPHASIS) for signal in (estimate, targets))
            esr = losses.esr(heard, wanted, "ratio_of_sums")
            return esr + losses.dc(estimate, targets), (esr, after)

        (_, (esr, after)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        steps, moments = optimiser.update(gradient, moments)
        return optax.apply_updates(params, steps), moments, after, esr

    params = model.init(jax.random.key(seed))
    moments = optimiser.init(params)
    warm_up = jax.jit(lambda params: model.apply(params, x[:, :WARM_UP], model.initial_state(params, BATCH))[1])
    memory: models.State = None
    starts = range(WARM_UP, x.shape[1] - FRAME, FRAME)
    with command_line.progress("update", updates, quiet=quiet) as step:
        for index in range(updates):
            start = starts[index % len(starts)]
            memory = warm_up(params) if start == WARM_UP else memory
            params, moments, memory, esr = update(params, moments, memory, start)
            step(f"ESR {10 * np.log10(float(esr)):.1f} dB")
    held_x, held_y = (jnp.asarray(s, jnp.float32)[None] for s in _pair(5.0, seed + 1))
    estimate, _ = model.apply(params, held_x, model.initial_state(params, 1))
    return params, float(losses.esr(estimate, held_y, "ratio_of_sums"))


def write_guitarml(path: Path, config: LSTMConfig, params: models.Params, origin: str) -> None:
    """A new SimpleRNN file, as Automated-GuitarAmpModelling writes it."""
    layer = {f"rec.{name}_l0": params[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    state = layer | {"lin.weight": params["head_weight"], "lin.bias": params["head_bias"]}
    document = {
        "model_data": {
            "model": "SimpleRNN", "input_size": 1, "skip": int(config.skip), "output_size": 1, "unit_type": "LSTM",
            "num_layers": 1, "hidden_size": config.hidden_size, "bias_fl": True,
        },
        "state_dict": {name: np.asarray(array, np.float64).tolist() for name, array in state.items()},
        "metadata": {"origin": f"experiments/pretrain.py --hidden-size {config.hidden_size}; {origin}"},
    }  # fmt: skip
    with command_line.input_errors("--output"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))


def _pair(seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    x = devices.training_signal(seconds, SAMPLE_RATE, seed)
    return x, devices.clipper(x, SAMPLE_RATE)


def _segments(signal: np.ndarray) -> jax.Array:
    return jnp.asarray(signal[: len(signal) // BATCH * BATCH].reshape(BATCH, -1), jnp.float32)


if __name__ == "__main__":
    command_line.run(main)
