"""Turn a SimpleRNN model (Proteus, NeuralPi) into an AIDA-X / RTNeural one or back, where nothing is lost."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import weights_import
from jaxalias import evaluation, models
from jaxalias.commands import command_line, overwriting, parsing, reading, writing
from jaxalias.commands.errors import input_errors
from jaxalias.commands.overwriting import Input, Output
from weights_import import ModelFile, metadata

NOTE = "converted_from"
NAMES = {"guitarml": "SimpleRNN", "rtneural": "RTNeural"}
PEAKS = (0.01, 0.1, 1.0)  # of the noise that both files play
KNOBS = (0.0, 0.5, 1.0)  # where all knobs stand meanwhile
SAMPLES = 22_050
LIMIT_DB = -200.0  # float64's rounding (-320), with room for what a high gain makes of it


def main() -> None:
    """The command."""
    args = parse_arguments()
    output = Output("--output", args.output, overwriting.model(NOTE))
    overwriting.refuse(args, [output], [Input(args.model, "the model itself")])
    source = reading.load_model(args.model, args.sample_rate)
    with input_errors():
        target = noted(weights_import.converted(source), source)
    error_db = largest_error_db(source, target)
    config: Any = target.network.config
    if not error_db < LIMIT_DB:
        raise RuntimeError(f"{args.model}: the converted model is {error_db:.0f} dB off the source")
    with input_errors():
        weights_import.save(args.output, target)
    record = {
        "model": str(args.model),
        "output": str(args.output),
        "from": source.format,
        "to": target.format,
        "sample_rate": target.sample_rate,
        "notes": source.notes | target.notes,
        "config": config.model_dump(mode="json"),
        "error_db": error_db if np.isfinite(error_db) else None,  # none at all
    }
    if args.json:
        writing.write_json(args.json, record)
    reading.tell_assumed([source])
    how = f"to {error_db:.0f} dB" if np.isfinite(error_db) else "exactly"
    described = f"{config.kind.upper()} of {config.hidden_size}, {target.sample_rate} Hz"
    print(f"wrote {args.output}: {NAMES[target.format]}, {described}; it plays what {args.model} plays, {how}")


def parse_arguments() -> Any:
    """The options."""
    parser = parsing.Parser(__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="FILE", help="SimpleRNN or RTNeural .json, told apart by content")
    add("--output", type=Path, required=True, metavar="FILE", help="the same model in the other format")
    parsing.add_sample_rate(parser)
    return parser.parse_args()


def noted(target: ModelFile, source: ModelFile) -> ModelFile:
    """The converted file with a note of what it was made from, beside the notes of the source."""
    notes = (metadata.of(target.document).get("training") or {}).get("jaxalias")
    note = {**(notes if isinstance(notes, dict) else {}), NOTE: source.path.name}
    return dataclasses.replace(target, document=metadata.with_note(target.document, note))


def largest_error_db(source: ModelFile, target: ModelFile) -> float:
    """The largest error-to-signal ratio between two files, over noise of several levels and positions of the knobs."""
    noise = np.random.default_rng(0).uniform(-1, 1, SAMPLES)
    x = jnp.asarray(np.array(PEAKS)[:, None] * noise)
    ratios = []
    for position in KNOBS if models.build(source.network.config).knobs else KNOBS[:1]:
        before, after = (play(file, x, position) for file in (source, target))
        ratios.append(np.sum((after - before) ** 2, axis=1) / np.sum(before**2, axis=1))
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.max(ratios)))


def play(file: ModelFile, x: jnp.ndarray, position: float) -> np.ndarray:
    """What a model makes of signals (b, t) in float64, all its knobs at one position."""
    model = models.build(file.network.config)
    return np.asarray(evaluation.player(model, file.network.params, "float64", (position,) * model.knobs)(x))


if __name__ == "__main__":
    command_line.run(main)
