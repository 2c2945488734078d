"""PyTorch files that hold more than tensors are refused by the object's name, with the remedy, and without PyTorch."""

import argparse
import io
import pickle
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

import weights_import
from jaxalias.commands import command_line, render
from weights_import import ModelFileError


class Net:
    """Stands for a module of the script that wrote the file."""


OBJECTS = {
    "a path (pathlib.PurePosixPath)": {"hyper_parameters": {"train_path": PurePosixPath("/music")}},
    "a number or an array of NumPy (numpy": {"best": np.float64(0.25)},
    "options of a program (argparse.Namespace)": {"args": argparse.Namespace(lr=0.1)},
    "Net": Net(),
    "complex and a path": {"a": 1j, "b": [PurePosixPath("x")]},
}


def archive(document: Any, protocol: int = 2, **more: bytes) -> bytes:
    """As `torch.save` writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("model/data.pkl", pickle.dumps(document, protocol))
        for name, data in more.items():
            packed.writestr(f"model/{name}", data)
    return stream.getvalue()


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        weights_import.load(path)
    message = str(caught.value)
    assert message.splitlines() == [message]
    return message


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", OBJECTS)
def test_the_object_is_named_with_the_remedy(tmp_path: Path, name: str, zipped: bool, protocol: int) -> None:
    document = OBJECTS[name]
    data = archive(document, protocol) if zipped else pickle.dumps(document, protocol)
    message = refusal(tmp_path / "amp.ckpt", data)
    assert all(word in message for word in name.split(" and ") if word != "complex"), message
    assert "torch.save(model.state_dict(), 'model.pt')" in message
    assert len(message) < 600


def test_a_program_is_no_checkpoint(tmp_path: Path) -> None:
    message = refusal(tmp_path / "amp.pt", archive({}, **{"constants.pkl": b"", "code/__torch__.py": b"x = 1"}))
    assert "TorchScript" in message
    assert "torch.save(torch.jit.load(FILE).state_dict(), 'model.pt')" in message


def test_a_zip_of_captures_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "captures.zip", "w") as packed:
        packed.writestr("amp.nam", "{}")
    assert "unpack it" in refusal(tmp_path / "captures.zip", (tmp_path / "captures.zip").read_bytes())


def test_plain_values_are_left_to_pytorch(tmp_path: Path) -> None:
    """And damage is no reason to ask for it."""
    whole = archive({"state_dict": {"a": [1, 2.5, "text", None, True]}})
    assert "pip install 'jaxalias[torch]'" in refusal(tmp_path / "amp.pt", whole)
    assert "whole zip archive" in refusal(tmp_path / "amp.pt", whole[:-10])


def test_a_command_says_so_in_one_line(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "amp.ckpt").write_bytes(archive(OBJECTS["a path (pathlib.PurePosixPath)"]))
    names = {"--model": "amp.ckpt", "--input": "in.wav", "--output": "out.wav"}
    options = [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    monkeypatch.setattr(sys, "argv", ["render.py", *options])
    with pytest.raises(SystemExit, match="2"):
        command_line.run(render.main)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "amp.ckpt: must hold tensors and plain values only, but holds a path" in line
