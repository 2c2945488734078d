"""Rank a library of models by how much they alias: the sine set through each, the worst first."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import weights_import
from jaxalias import disk, evaluation, models
from jaxalias.commands import command_line, long_runs, measuring, overwriting, parsing, reading, writing
from jaxalias.commands.errors import BadInputError, input_errors
from jaxalias.commands.overwriting import Input, Output
from jaxalias.losses.nmr import AUDIBLE_DB
from weights_import import ModelFile, Network

QUICK = evaluation.SineSet(levels_db=(-18.0,))
COLUMNS = ("rank", "path", "knobs", "format", "sample_rate", "parameters", "NMR-S", "ESR-S", "worst_NMR-S",
           "worst_f0_hz", "worst_level_db", "audible_share")  # fmt: skip


def main() -> None:
    """The command."""
    args = parse_arguments()
    outputs = [Output("--csv", args.csv, overwriting.table(COLUMNS))] if args.csv else []
    own = [
        path
        for path, ours in ((args.csv, overwriting.table(COLUMNS)), (args.json, overwriting.result))
        if path and path.is_file() and ours(path)
    ]  # of the last time, in the folder of the library
    paths = [path for path in reading.find_files(args.paths) if not any(map(path.samefile, own))]
    overwriting.refuse(args, outputs, [Input(path, "one of the files to be surveyed") for path in paths])
    if not paths:
        raise BadInputError(f"{', '.join(map(str, args.paths))}: must hold at least 1 file, got 0")
    sine_set = QUICK if args.quick else evaluation.SineSet()
    measured, refused, interrupted = measure_all(paths, sine_set, args)
    measured.sort(key=lambda entry: -np.inf if entry["NMR-S"] is None else entry["NMR-S"], reverse=True)
    ranked = [{"rank": rank, **entry} for rank, entry in enumerate(measured, start=1)]

    if len(paths) == len(refused) == 1:
        raise BadInputError(f"none of 1 files could be measured: {refused[0]['reason']}")
    for entry in refused:
        print(f"survey.py: left out: {entry['reason']}", file=sys.stderr)
    for note, count in Counter(note for entry in measured for note in entry["notes"].items()).items():
        print(f"survey.py: {count} of {len(measured)} models: {': '.join(note)}", file=sys.stderr)
    if args.json:
        writing.write_json(args.json, record(ranked, refused, sine_set))
    if args.csv:
        write_csv(args.csv, ranked)
    if ranked:
        writing.print_table(table_rows(ranked), f"{len(ranked)} models, the worst first")
    if interrupted:
        print(f"survey.py: interrupted after {len(measured) + len(refused)} of {len(paths)} files", file=sys.stderr)
        raise SystemExit(130)
    if not ranked:
        raise BadInputError(f"none of {len(paths)} files could be measured")


def parse_arguments() -> Any:
    """The options of INTERFACE.md."""
    parser = parsing.Parser(__doc__)
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="FOLDER_OR_FILES", help="model files, or folders with all below them"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the ranking as a table, levels in dB")
    parser.add_argument("--quick", action="store_true", help="-18 dB tones only: a third of the time")
    parsing.add_knobs(parser)
    parsing.add_sample_rate(parser)
    parser.add_argument("--precision", choices=["float32", "float64"], default="float32", help="of the models")
    return parser.parse_args()


def measure_all(
    paths: Sequence[Path], sine_set: evaluation.SineSet, args: Any
) -> tuple[list[dict[str, Any]], list[dict[str, str]], bool]:
    """Measure file after file: what was measured, what was refused and why, and whether it was interrupted."""
    measured: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    with (
        long_runs.stop_on_interrupt() as should_stop,
        long_runs.progress("surveying", len(paths), quiet=args.quiet) as step,
    ):
        for path in paths:
            if should_stop():
                return measured, refused, True
            try:
                measured.extend(measure(path, sine_set, args))
            except Exception as error:  # of one file among hundreds, whatever it is
                refused.append({"path": str(path), "reason": reason_of(error, path)})
            step(path.name)
    return measured, refused, False


def reason_of(error: BaseException, path: Path) -> str:
    """Why a file is left out, in one line with its name; a failure inside is called that."""
    line = " ".join(str(error).split())
    if not isinstance(error, ValueError | OSError | BadInputError):
        line = f"failed inside, with {type(error).__name__}: {line}"
    return line if str(path) in line else f"{path}: {line}"


def measure(path: Path, sine_set: evaluation.SineSet, args: Any) -> list[dict[str, Any]]:
    """Lines of the ranking, in dB: one for each model of a file.

    Raises:
        ValueError: the file is no model, or its output cannot be measured.
        BadInputError: the model has knobs, and another number than positions are given.
    """
    file = weights_import.load(path)
    if args.sample_rate is not None and file.network.rate.source == "assumed":  # others of the library say theirs
        file = weights_import.at_rate(file, args.sample_rate)
    return [measure_network(file, network, sine_set, args.precision, args.knobs) for network in file.networks]


def measure_network(
    file: ModelFile, network: Network, sine_set: evaluation.SineSet, precision: str, knobs: Sequence[float] | None
) -> dict[str, Any]:
    """One line of the ranking."""
    turned = knobs if models.build(network.config).knobs else None
    candidate = measuring.candidate_of(file, network, "teacher", precision, turned)
    found = evaluation.evaluate([candidate], file.sample_rate, sine_set)["models"][0]
    tones = found["per_tone"]
    measured = [index for index, value in enumerate(tones["NMR-S"]) if value is not None]
    if not measured:  # tones that are left out, or without any alias at all
        raise ValueError(f"{file.label(network)}: no tone of the set has an NMR in dB: it does not alias")
    worst = max(measured, key=lambda index: tones["NMR-S"][index])
    return {
        "path": file.label(network),
        "format": file.format,
        "knobs": list(candidate.knobs),
        "sample_rate": file.sample_rate,
        "notes": file.notes,
        "parameters": models.parameter_count(network.params),
        "NMR-S": found["metrics"]["NMR-S"],
        "ESR-S": found["metrics"]["ESR-S"],
        "worst_NMR-S": tones["NMR-S"][worst],
        "worst_f0_hz": tones["f0_hz"][worst],
        "worst_level_db": tones["level_db"][worst],
        "audible_share": float(np.mean([tones["NMR-S"][index] > AUDIBLE_DB for index in measured])),
    }


def record(ranked: list[dict[str, Any]], refused: list[dict[str, str]], sine_set: evaluation.SineSet) -> dict[str, Any]:
    """All of it, as JSON holds it."""
    return {
        "sine_set": {"midi": list(sine_set.midi), "levels_db": list(sine_set.levels_db)},
        "audible_above_db": AUDIBLE_DB,
        "models": ranked,
        "left_out": refused,
        "environment": writing.environment(),
    }


def write_csv(path: Path, ranked: list[dict[str, Any]]) -> None:
    """The ranking, one model a line, complete or not at all."""
    with input_errors("--csv"), disk.replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**entry, "knobs": positions_text(entry)} for entry in ranked)


def positions_text(entry: dict[str, Any]) -> str:
    """Where the knobs stand, one after the other."""
    return " ".join(f"{knob:g}" for knob in entry["knobs"])


def table_rows(ranked: list[dict[str, Any]]) -> list[list[str]]:
    """Header and one row a model."""
    rows = [["rank", "model", "NMR-S (dB)", "ESR-S (dB)", "audible tones", "worst NMR-S (dB)", "at"]]
    for entry in ranked:
        nmr, esr, worst = (
            "-" if entry[key] is None else f"{entry[key]:.1f}" for key in ("NMR-S", "ESR-S", "worst_NMR-S")
        )
        share, at = f"{entry['audible_share']:.0%}", f"{entry['worst_f0_hz']:.0f} Hz, {entry['worst_level_db']:g} dB"
        name = Path(entry["path"]).name + (f" (knobs {positions_text(entry)})" if entry["knobs"] else "")
        rows.append([str(entry["rank"]), name, nmr, esr, share, worst, at])
    return rows


if __name__ == "__main__":
    command_line.run(main)
