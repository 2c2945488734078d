"""Play audio of any length through a model, block by block."""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalias import models
from jaxalias.commands import channels, command_line, long_runs, overwriting, parsing, reading, writing
from jaxalias.commands.errors import BadInputError
from jaxalias.signals import audio_files
from jaxalias.signals.audio_files import AudioFileError, Sink, Source
from jaxalias.targets import oversampling
from weights_import import ModelFile, Network

BLOCK = 65_536  # samples of the model's rate a step: a NAM model plays its receptive field (4093) again in each


class Playing(NamedTuple):
    """A model and how it is to be played."""

    label: str  # what it is called
    network: Network
    factor: int  # of its rate
    precision: str
    knobs: tuple[float, ...]


def main() -> None:
    """The command."""
    args = parse_arguments()
    output = overwriting.Output("--output", args.output, overwriting.audio)
    overwriting.refuse(args, [output], overwriting.inputs(model=args.model, input=args.input))
    file = reading.load_model(args.model, args.sample_rate)
    network = chosen(file, args.submodel)
    knobs = reading.knobs_of(file, network, args.knobs)
    playing = Playing(file.label(network), network, args.oversample, args.precision, knobs)
    started = time.monotonic()
    try:
        with (
            audio_files.reading(args.input, args.channel) as source,
            audio_files.writing(
                args.output, source.sample_rate, args.bits, source.length, writing.command_name()
            ) as sink,
        ):
            for warning in source.warnings:
                print(f"render.py: {warning}", file=sys.stderr)
            steps = math.ceil(native_length(source, network) / BLOCK)
            with long_runs.progress("rendering", steps, quiet=args.quiet) as step:
                for y in render(source, playing, step):
                    sink.write(y)
    except AudioFileError as error:
        raise BadInputError(str(error)) from error
    record = describe(args, playing, source, sink, time.monotonic() - started) | {"notes": file.notes}
    if args.json:
        writing.write_json(args.json, record)
    reading.tell_assumed([file])
    report(record)


def parse_arguments() -> Any:
    """The options of INTERFACE.md."""
    parser = parsing.Parser(__doc__)
    parser.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="FILE",
        help="NAM .nam, GuitarML or AIDA-X .json, or PyTorch checkpoint",
    )
    parser.add_argument("--input", type=Path, required=True, metavar="WAV", help="WAV, FLAC ... of any rate and length")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="WAV", help="mono WAV at the input's rate, as long as the input"
    )
    parser.add_argument(
        "--oversample",
        type=parsing.positive_int,
        default=1,
        metavar="M",
        help="run the model at M times its rate, which takes M times as long",
    )
    parser.add_argument(
        "--submodel",
        type=parsing.positive_int,
        metavar="N",
        help="which model of a container, from 1, the smallest (default: the largest)",
    )
    channels.add_one(parser, "the input")
    parsing.add_knobs(parser)
    parsing.add_sample_rate(parser)
    parser.add_argument("--bits", choices=["16", "24", "float"], default="24", help="of the output's samples")
    parser.add_argument("--precision", choices=["float32", "float64"], default="float32", help="of the model")
    return parser.parse_args()


def chosen(file: ModelFile, number: int | None) -> Network:
    """The model of a file that is to be played."""
    if number is not None and number > len(file.networks):
        raise BadInputError(f"--submodel: {file.path} holds {len(file.networks)} models, got {number}")
    return file.network if number is None else file.networks[number - 1]


def native_length(source: Source, network: Network) -> int:
    """Samples of the input at the model's rate."""
    return round(source.length * network.sample_rate / source.sample_rate)


def render(source: Source, playing: Playing, on_block: Callable[[str], None]) -> Iterator[audio_files.Signal]:
    """The model's answer to the whole source, as long as it and in time with it, at the source's rate."""
    network = playing.network
    late, length = oversampling.latency(playing.factor), native_length(source, network)
    native = audio_files.resampled(source.blocks, source.sample_rate, network.sample_rate)
    followed = itertools.chain(native, [np.zeros(late)])  # silence that drives the last samples out of the filters
    played = play(playing, audio_files.in_blocks(followed, min(BLOCK, length + late)), on_block)
    aligned = audio_files.exactly(played, skip=late, length=length)
    back = audio_files.resampled(aligned, network.sample_rate, source.sample_rate)
    yield from audio_files.exactly(back, skip=0, length=source.length)


def play(
    playing: Playing, blocks: Iterator[audio_files.Signal], on_block: Callable[[str], None]
) -> Iterator[audio_files.Signal]:
    """Run the model block after block, its state carried; the last block is filled up to the size of the others.

    Raises:
        BadInputError: the model's output is not finite.
    """
    label, network, factor, precision, knobs = playing
    model = oversampling.streaming(models.build(network.config), factor)
    params = models.cast(network.params, precision)
    state, step, size, done = model.initial_state(params, 1, np.array(knobs)), jax.jit(model.apply), 0, 0
    for block in blocks:
        size = size or len(block)
        x = np.pad(block, (0, size - len(block))).astype(precision)
        y, state = step(params, x[None], state)
        played = np.asarray(y[0, : len(block)], np.float64)
        if not np.isfinite(played).all():
            raise BadInputError(f"{label}: the model's output must be finite, is not within {size} samples of {done}")
        done += len(block)
        on_block("")
        yield played


def describe(args: Any, playing: Playing, source: Source, sink: Sink, seconds: float) -> dict[str, Any]:
    """What was done, as JSON holds it. A silent output has no peak in dB: null."""
    duration_s = source.length / source.sample_rate
    return {
        "model": playing.label,
        "input": str(source.path),
        "output": str(args.output),
        "oversample": args.oversample,
        "knobs": list(playing.knobs),
        "bits": args.bits,
        "precision": args.precision,
        "sample_rate": source.sample_rate,
        "model_sample_rate": playing.network.sample_rate,
        "samples": sink.length,
        "duration_s": duration_s,
        "peak_db": 20 * math.log10(sink.peak) if sink.peak > 0 else None,
        "clipped_samples": sink.clipped,
        "seconds": seconds,
        "times_real_time": duration_s / seconds,
        "warnings": list(source.warnings),
        "environment": writing.environment(),
    }


def report(record: dict[str, Any]) -> None:
    """One line about the output, and one on stderr if it clipped."""
    peak = "silent" if record["peak_db"] is None else f"peak {record['peak_db']:.1f} dB"
    if record["knobs"]:
        print(f"knobs of {record['model']}: {' '.join(f'{knob:g}' for knob in record['knobs'])}")
    print(
        f"wrote {record['output']}: {record['duration_s']:.1f} s at {record['sample_rate']} Hz, {peak}, "
        f"{record['seconds']:.1f} s of work ({record['times_real_time']:.1f} times real time)"
    )
    if record["clipped_samples"]:
        print(
            f"render.py: {record['clipped_samples']} of {record['samples']} samples clipped; --bits float keeps them",
            file=sys.stderr,
        )


if __name__ == "__main__":
    command_line.run(main)
