"""What a PyTorch file holds besides tensors, found without running any of it, and without PyTorch.

A checkpoint is a pickle, alone or in a zip archive, and a pickle may make any object and call any function. Tensors,
numbers, text, lists and dicts are read; for all else the file is refused by the object's name.
"""

import io
import pickletools
import zipfile
from collections.abc import Iterator

from weights_import.model_file import MAX_BYTES, ModelFileError

REMEDY = (
    "save the state_dict alone where the file was made: "
    "torch.save(model.state_dict(), 'model.pt') (of a WaveNet take the .nam file that the trainer exports)"
)
_SCRIPT = "is a TorchScript archive, a program with its numbers; only numbers are read"
_SCRIPT_REMEDY = "save its state_dict alone: torch.save(torch.jit.load(FILE).state_dict(), 'model.pt')"
_PLAIN = (
    "torch.", "collections.OrderedDict", "collections.Counter", "collections.defaultdict", "builtins.", "__builtin__.",
    "_codecs.encode",
)  # fmt: skip
_FOREIGN = ("torch.nn.modules.", "torch.jit.", "torch.fx.", "torch.package.", "torch.ScriptModule")
_NAMED = 4
_KINDS = {
    "pathlib.": "a path", "numpy.": "a number or an array of NumPy", "argparse.": "options of a program",
    "torch.nn.modules.": "a whole network", "torch.fx.": "a whole network", "torch.jit.": "a whole network",
    "__main__.": "an object of the script that wrote it", "omegaconf.": "options of a program",
}  # fmt: skip
_TEXT = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING")


def is_zip(data: bytes) -> bool:
    """Whether a file begins as a zip archive."""
    return data.startswith(b"PK")


def refuse_programs(data: bytes) -> None:
    """Refuse a zip archive that is too large once it is unpacked, a TorchScript program, or no checkpoint at all.

    Raises:
        ModelFileError: it is, or it is damaged.
    """
    if not is_zip(data):
        return
    try:
        parts = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except Exception as error:  # a damaged archive raises whatever it runs into
        raise ModelFileError(f"must be a PyTorch checkpoint, a whole zip archive: {error}") from None
    unpacked = sum(part.file_size for part in parts)
    if unpacked > MAX_BYTES:
        raise ModelFileError(f"must be at most {MAX_BYTES} bytes unpacked, got {unpacked}")
    names = {part.filename.partition("/")[2] for part in parts}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise ModelFileError(_SCRIPT, _SCRIPT_REMEDY)
    if "data.pkl" not in names:
        raise ModelFileError("is a zip archive, but none that PyTorch writes", "unpack it, and give the model in it")


def refuse_objects(data: bytes) -> None:
    """Refuse a checkpoint with objects that are neither tensors nor plain values.

    Raises:
        ModelFileError: naming them. What is too damaged to be looked through passes.
    """
    foreign = sorted(set(filter(_is_foreign, _globals(_pickle(data)))))
    if not foreign:
        return
    kinds = dict.fromkeys(kind for name in foreign for start, kind in _KINDS.items() if name.startswith(start))
    names = [f"{name:.80}" for name in foreign[:_NAMED]] + ["..."] * (len(foreign) > _NAMED)
    holds = f"{' and '.join(kinds)} ({', '.join(names)})" if kinds else ", ".join(names)
    what = f"must hold tensors and plain values only, but holds {holds}"
    raise ModelFileError(f"{what}: such objects may run programs, so they are not read", REMEDY)


def _pickle(data: bytes) -> bytes:
    """The pickle in a file: the member data.pkl of an archive, else the file itself."""
    if not is_zip(data):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
            return archive.read(name) if name else b""
    except Exception:  # as above; whoever reads it on will say so
        return b""


def _globals(data: bytes) -> Iterator[str]:
    """Dotted names of all classes and functions that pickles, one after the other, ask for, without loading them."""
    stream = io.BytesIO(data)
    while stream.tell() < len(data):
        texts: list[str] = []  # pushed so far
        kept: dict[int, str | None] = {}  # the pickle's memory: its texts, and None for all else
        newest: str | None = None  # the text that was pushed by the operation before
        try:
            for code, argument, _ in pickletools.genops(stream):
                if code.name in ("GLOBAL", "INST"):
                    yield str(argument).replace(" ", ".")
                elif code.name == "STACK_GLOBAL" and len(texts) > 1:
                    yield ".".join(texts[-2:])
                if code.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                    kept[len(kept) if argument is None else int(str(argument))] = newest
                    continue
                newest = str(argument) if code.name in _TEXT else None
                if code.name in ("GET", "BINGET", "LONG_BINGET"):
                    newest = kept.get(int(str(argument)))
                texts += [] if newest is None else [newest]
        except Exception:  # the numbers that follow the pickles of an old file, or damage
            return


def _is_foreign(name: str) -> bool:
    return name.startswith(_FOREIGN) or not name.startswith(_PLAIN)
