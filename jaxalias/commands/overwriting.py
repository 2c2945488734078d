"""What a command may write: no file that it reads, and no existing file but those that it made itself, or `--force`.

Every file that this package writes holds the name of the command that made it: JSON beside the versions, a model in
its note, a WAV file in a comment, a page in its head, a picture in its text. The comment of a WAV file also holds a
checksum of the samples, because an editor may keep the comment of a file that it changes. The folder of a run has a
`run.json`.
"""

import csv
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import weights_import
from jaxalias.commands import reading
from jaxalias.commands import report as reports
from jaxalias.commands.errors import BadInputError, input_errors
from jaxalias.commands.fine_tuning import FINE_TUNED
from jaxalias.commands.writing import command_name
from jaxalias.reporting import library, page, pictures
from jaxalias.signals import audio_files

RUN, RESULT = "run.json", "result.json"  # of a run: its settings, and the record that --json writes too
Ours = Callable[[Path], bool]
"""Whether a file is one that this command makes."""
Identity = tuple[int, int] | Path
"""Of a file: device and inode, so that links are the file itself. Of a file that is not there: its whole path."""
Known = Mapping[Identity, str]
"""Files that a command reads, and what they are in the error that refuses to overwrite them."""


class Output(NamedTuple):
    """A file that a command is to write, with the option that names it."""

    option: str
    path: Path
    ours: Ours


class Input(NamedTuple):
    """A file that a command reads, and its name in the error that refuses to overwrite it."""

    path: Path
    what: str


def inputs(**options: Path | str | Iterable[Path] | None) -> list[Input]:
    """The files of options by their names as argparse has them."""
    found = []
    for name, value in options.items():
        paths = [Path(value)] if isinstance(value, str | Path) else value or ()
        found += [Input(path, f"the file of --{name.replace('_', '-')}") for path in paths]
    return found


def refuse(args: Any, outputs: Sequence[Output], read: Sequence[Input] | Known) -> None:
    """Refuse to overwrite, before anything is done.

    Args:
        args: the command's; its `--json`, if it is given, counts among the outputs.
        outputs: what the command is to write.
        read: the files that it reads, as `known` gives them if they are many.

    Raises:
        BadInputError: an output is a folder, a file that is read, another output, or an existing file that this
            command did not make (unless `--force`); names the option and the path.
    """
    outputs = [*outputs, *([Output("--json", args.json, result)] if args.json else [])]
    inputs_by_identity = read if isinstance(read, Mapping) else known(read)
    before: dict[Identity, str] = {}
    for option, path, ours in outputs:
        if path.is_dir():
            raise BadInputError(f"{option} {path} is a folder; give a file name")
        here = _identity(path)
        if here in inputs_by_identity:
            raise BadInputError(f"{option} {path} is {inputs_by_identity[here]}; give another name")
        if here in before:
            raise BadInputError(f"{option} {path} is the file of {before[here]}; give another name")
        before[here] = option
        if path.is_file() and not args.force and not ours(path):
            raise BadInputError(
                f"{option} {path} exists, and {command_name()} did not make it; give another name, or --force to "
                "overwrite it"
            )


def known(read: Iterable[Input]) -> Known:
    """What is read, by identity; of several inputs that are one file the first."""
    found: dict[Identity, str] = {}
    for path, what in read:
        found.setdefault(_identity(path), what)
    return found


def refuse_in(
    args: Any,
    option: str,
    folder: Path,
    names: Iterable[str],
    read: Sequence[Input] | Known,
    ours: Callable[[Path], bool],
) -> None:
    """Refuse to overwrite files in a folder.

    Args:
        names: of the files that the command writes there. Of these, `--json` may name the record of a run alone.
        ours: whether the command made the folder; then it may replace those files.
    """
    mine, paths = ours(folder), [folder / name for name in names]
    if args.json and any(_same(args.json, path) for path in paths if path.name != RESULT):
        raise BadInputError(f"--json {args.json} is a file of {option}; give another name")
    refuse(_Only(None, args.force), [Output(option, path, lambda path: mine) for path in paths], read)


class _Only(NamedTuple):
    json: Path | None
    force: bool


def read_by_runs(args: Any, models: Iterable[Path]) -> Known:
    """What runs of these models read."""
    every = [Input(path, "the model itself, the teacher is kept") for path in models]
    return known([*every, *inputs(audio=args.audio, train_audio=args.train_audio)])


def refuse_for_run(args: Any, read: Known, run_dir: Path, output: Path) -> None:
    """Refuse what a fine-tuning run would overwrite: with its student, or with the report in its folder."""
    ran, student = run_folder(run_dir), model("what", FINE_TUNED)

    def ours(path: Path) -> bool:
        return student(path) or (ran and (args.output is None or path == _run_output(run_dir)))

    refuse(args, [Output("--output", output, ours)], read)
    own = (*reports.NAMES, RESULT)
    refuse_in_run(args, run_dir, output, own)
    refuse_in(args, "--run-dir", run_dir, (*own, f"rejected_{output.name}"), read, run_folder)


def refuse_for_library(args: Any, folder: Path) -> None:
    """Refuse what the page and the table of several runs would overwrite."""
    made = {
        "index.html": lambda path: _begins_with(path, library.TITLE.encode()),
        "ranking.csv": table(library.COLUMNS),
    }
    outputs = [Output("--run-dir", folder / name, made[name]) for name in library.NAMES]
    refuse(args, outputs, [])


def refuse_in_run(args: Any, run_dir: Path, output: Path, names: Iterable[str] = ()) -> None:
    """Refuse to write the model, or `--json`, where the run writes a file of its own.

    Args:
        names: of the report in the folder, which the model must not overwrite either.
    """
    for option, path, taken in (("--output", output, (RUN, *names)), ("--json", args.json, (RUN,))):
        if path and any(_same(path, run_dir / name) for name in taken):
            raise BadInputError(f"{option} {path} is a file of the run itself; give another name")


def _run_output(run_dir: Path) -> Path | None:
    """The path of the student of a finished run; None if the file has changed since."""
    try:
        record = reading.read_json(run_dir / RESULT)
        path = Path(record["output"])
        return path if reading.digest(path) == record["output_sha256"] else None
    except (KeyError, TypeError, BadInputError):
        return None


def refuse_unwritable(output: Path) -> None:
    """Check before the training that the result can be written."""
    with input_errors("--output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):  # a name of its own: several hosts may look at once
            pass


def result(path: Path) -> bool:
    """A JSON file of this command, or of this package before it wrote which command made it."""
    made_by = reading.read_json(path).get("environment")
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
    """The folder of a run, or of the runs of a file's networks; also one whose `run.json` is lost."""
    marks = (RUN, "checkpoints/*/progress.json")
    return any(any(folder.glob(place + mark)) for place in ("", "*/") for mark in marks)


def marks(folder: Path) -> bool:
    """The folder of a model in a sweep."""
    return "inputs" in reading.read_json(folder / "marks.json")


def sweep_folder(folder: Path) -> bool:
    """The folder of a sweep: each model has a folder there, and each point one in that."""
    return any(folder.glob("*/marks.json")) or any(folder.glob("*/*/run.json"))


def _same(path: Path, other: Path) -> bool:
    return _identity(path) == _identity(other)


def _identity(path: Path) -> Identity:
    try:
        found = path.stat()
        return found.st_dev, found.st_ino
    except OSError:
        return path.resolve()


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
