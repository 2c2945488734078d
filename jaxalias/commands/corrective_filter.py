"""Fit a short linear filter behind a student and measure what it changes: the paper's suggestion against lost treble.

The filter is fitted to random tones and measured on the sine set, and on music if given. It is not written to a file:
no head of an LSTM or of a NAM A1 file has the memory to hold one.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalias import evaluation
from jaxalias.commands import channels, command_line, evaluate, measuring, overwriting, parsing, reading, writing
from jaxalias.config import SineConfig
from jaxalias.evaluation import Candidate, corrective_filter
from jaxalias.signals import sines
from jaxalias.signals.dsp import midi_to_hz
from jaxalias.targets import harmonics

TONES = 200  # random
FITTED_TO = SineConfig(midi_low=evaluation.PIANO.midi[0], midi_high=evaluation.PIANO.midi[1], quietest_db=-50.0)


def main() -> None:
    """The command."""
    args = parse_arguments()
    overwriting.refuse(args, [], overwriting.inputs(teacher=args.teacher, student=args.student, audio=args.audio))
    files = evaluate.load_models(args.teacher, [args.student], args.sample_rate)
    rate = files[0].sample_rate
    clips = measuring.load_clips(args.audio, [], rate, (args.channel, None))
    teacher, student = (
        measuring.candidate_of(file, file.network, role)
        for file, role in zip(files, ("teacher", "student"), strict=True)
    )
    y, wanted = answers(teacher, student, rate, args.seed)
    filtered = [
        student._replace(
            path=f"{student.path} + {taps} taps",
            play=corrective_filter.behind(student.play, corrective_filter.fit(y, wanted, taps)),
        )
        for taps in args.taps
    ]
    record, _ = measuring.measure([[teacher, student, *filtered]], rate, clips, alias_free=True, quiet=args.quiet)
    if args.json:
        writing.write_json(args.json, record)
    measuring.print_result(record, f"with filters fitted to {TONES} random tones", [args.json] if args.json else [])


def parse_arguments() -> Any:
    """The options."""
    parser = parsing.Parser(__doc__)
    add = parser.add_argument
    add("--teacher", type=Path, default=reading.SHIPPED_MODEL, metavar="FILE", help="what the student came from")
    add("--student", type=Path, required=True, metavar="FILE", help="the model to fit a filter behind")
    add("--taps", type=parsing.positive_int, nargs="+", default=[16, 64], metavar="N", help="lengths of filters")
    add("--audio", type=Path, nargs="+", default=[], metavar="FILE", help="music to play through them, WAV or FLAC")
    channels.add_one(parser, "--audio")
    add("--seed", type=parsing.natural_int, default=0, metavar="N", help="of the tones")
    parsing.add_sample_rate(parser)
    return parser.parse_args()


def answers(teacher: Candidate, student: Candidate, sample_rate: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What the student makes of random tones once it is settled, and the teacher's harmonics of the same."""
    tones = sines.draw(
        jax.random.key(seed), TONES, midi_low=FITTED_TO.midi_low, midi_high=FITTED_TO.midi_high,
        sample_rate=sample_rate, dtype="float64", quietest_db=FITTED_TO.quietest_db,
    )  # fmt: skip
    settling, analysed = (round(seconds * sample_rate) for seconds in (FITTED_TO.settling_s, FITTED_TO.analysed_s))
    x = sines.render(tones, settling + analysed)
    number = harmonics.highest_number(float(midi_to_hz(FITTED_TO.midi_low)), sample_rate)
    y, source = (candidate.play(x)[:, settling:] for candidate in (student, teacher))
    return np.asarray(y), np.asarray(harmonics.bandlimit(source, tones.increment, number))


if __name__ == "__main__":
    command_line.run(main)
