"""What a command may write: no file that it reads, and no existing file but those that it made itself, or `--force`.

Whatever this package writes says by which command it was made: JSON among its versions, a model in its note, a WAV
file in a comment with a checksum of its samples (so that a recording which an editor saved with the comment of
another file is not taken for it), a page in its head, a picture in its text. A folder of a run has a `run.json`.
"""

import csv
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import weights_import
from jaxalias.commands import command_line
from jaxalias.commands import report as reports
from jaxalias.commands.command_line import BadInputError, command_name, input_errors
from jaxalias.commands.fine_tuning import FINE_TUNED
from jaxalias.reporting import page, pictures
from jaxalias.signals import audio_files

Ours = Callable[[Path], bool]
"""Whether a file is one that this command makes."""


class Output(NamedTuple):
    """A file that a command is told to write."""

    option: str
    path: Path
    ours: Ours


class Input(NamedTuple):
    """A file that it reads, and what it is called where it must not be written over."""

    path: Path
    what: str


def inputs(**options: Path | str | Iterable[Path] | None) -> list[Input]:
    """The files of options by their names as argparse has them."""
    found = []
    for name, value in options.items():
        paths = [Path(value)] if isinstance(value, str | Path) else value or ()
        found += [Input(path, f"the file of --{name.replace('_', '-')}") for path in paths]
    return found


def refuse(args: Any, outputs: Sequence[Output], read: Sequence[Input]) -> None:
    """Refuse to overwrite, before anything is done.

    Args:
        args: the command's; its `--json`, if it is given, counts among the outputs.

    Raises:
        BadInputError: an output is a folder, a file that is read, another output, or an existing file that this
            command did not make (unless `--force`); names the option and the path.
    """
    outputs = [*outputs, *([Output("--json", args.json, result)] if args.json else [])]
    for index, (option, path, ours) in enumerate(outputs):
        if path.is_dir():
            raise BadInputError(f"{option} {path} is a folder; give a file name")
        for source, what in read:
            if _same(path, source):
                raise BadInputError(f"{option} {path} is {what}; give another name")
        for other in outputs[:index]:
            if _same(path, other.path):
                raise BadInputError(f"{option} {path} is the file of {other.option}; give another name")
        if path.is_file() and not args.force and not ours(path):
            raise BadInputError(
                f"{option} {path} exists, and {command_name()} did not make it; give another name, or --force to "
                "overwrite it"
            )


def refuse_in(
    args: Any, option: str, folder: Path, names: Iterable[str], read: Sequence[Input], ours: Callable[[Path], bool]
) -> None:
    """The same for the files that a command puts into a folder, which are its own where the folder is (`ours`)."""
    mine = ours(folder)
    refuse(_Only(None, args.force), [Output(option, folder / name, lambda path: mine) for name in names], read)


class _Only(NamedTuple):
    json: Path | None
    force: bool


def refuse_for_run(args: Any, source: Path, run_dir: Path, output: Path) -> None:
    """The same for a fine-tuning run: its student, and the report in its folder."""
    read = [Input(source, "the model itself, the teacher is kept")]
    read += [Input(path, "one of the models") for path in command_line.find_files(args.model)]
    read += inputs(audio=args.audio, train_audio=args.train_audio)
    ran, student = run_folder(run_dir), model("what", FINE_TUNED)

    def ours(path: Path) -> bool:
        return student(path) or (ran and (args.output is None or path == _run_output(run_dir)))

    refuse(args, [Output("--output", output, ours)], read)
    names = (*reports.NAMES, "result.json", f"rejected_{output.name}")
    refuse_in(args, "--run-dir", run_dir, names, read, run_folder)


def _run_output(run_dir: Path) -> Path | None:
    """Where the finished run of a folder has put its student, if it still lies there as it was written."""
    try:
        record = command_line.read_json(run_dir / "result.json")
        path = Path(record["output"])
        return path if command_line.digest(path) == record["output_sha256"] else None
    except (KeyError, TypeError, BadInputError):
        return None


def refuse_unwritable(output: Path) -> None:
    """Find out before the training, not after it, that the result has no place to go."""
    with input_errors("--output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):  # a name of its own: several hosts may look at once
            pass


def result(path: Path) -> bool:
    """A JSON file of this command, or of this package before it wrote which command made it."""
    made_by = command_line.read_json(path).get("environment")
    if not isinstance(made_by, dict) or "jaxalias" not in (made_by.get("versions") or ()):
        return False
    return made_by.get("command", command_name()) == command_name()


def model(key: str, value: str = "") -> Ours:
    """Model files whose note has a value that begins like this."""

    def ours(path: Path) -> bool:
        note = _note(path)
        return str(note.get(key, "")).startswith(value) and key in note

    return ours


def audio(path: Path) -> bool:
    """A WAV file as this command wrote it."""
    return audio_files.made_by(path) == command_name()


def table(columns: Sequence[str]) -> Ours:
    """CSV files with this header."""

    def ours(path: Path) -> bool:
        try:
            with path.open(newline="") as file:
                return next(csv.reader(file), None) == list(columns)
        except (OSError, ValueError, csv.Error):
            return False

    return ours


def report(folder: Path) -> bool:
    """A folder with a page that this package made."""
    return _begins_with(folder / "index.html", page.GENERATOR.encode())


def picture(path: Path) -> bool:
    """A PNG file that this package made."""
    return _begins_with(path, pictures.SOFTWARE.encode())


def run_folder(folder: Path) -> bool:
    """The folder of a run, or of the runs of a file's networks."""
    return any(folder.glob("run.json")) or any(folder.glob("*/run.json"))


def marks(folder: Path) -> bool:
    """The folder of a model in a sweep."""
    return "inputs" in command_line.read_json(folder / "marks.json")


def sweep_folder(folder: Path) -> bool:
    """The folder of a sweep: each model has a folder there, and each point one in that."""
    return any(folder.glob("*/marks.json")) or any(folder.glob("*/*/run.json"))


def _same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def _begins_with(path: Path, mark: bytes) -> bool:
    """Whether a mark stands in the first part of a file."""
    try:
        with path.open("rb") as file:
            return mark in file.read(4096)
    except OSError:
        return False


def _note(path: Path) -> dict[str, Any]:
    """What this package wrote into a model file about how it was made."""
    try:
        document = weights_import.load(path).document
    except ValueError:
        return {}
    inside = document.get("metadata") or {}
    note = document.get("jaxalias") or (inside.get("training") or {}).get("jaxalias")
    return note if isinstance(note, dict) else {}
