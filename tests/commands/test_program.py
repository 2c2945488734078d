"""The program `jaxalias`: its sub-commands are those of the folder `experiments`, and it starts without JAX."""

import subprocess
import sys

import jax
import pytest

import jaxalias
from jaxalias.commands import command_line, program, writing


def test_every_front_door_is_a_sub_command_and_starts_the_same_module() -> None:
    doors = {path.stem: path.read_text() for path in (writing.REPOSITORY / "experiments").glob("*.py")}
    assert set(doors) == {command.module for command in program.COMMANDS.values()}
    for name, command in program.COMMANDS.items():
        assert f"`jaxalias {name}`" in doors[command.module]
        assert f"run({command.module}.main)" in doors[command.module]


@pytest.mark.parametrize("name", program.COMMANDS)
def test_a_sub_command_explains_itself_under_its_name(name, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    with pytest.raises(SystemExit) as stop:
        program.main([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: jaxalias {name} ")
    assert not program.COMMANDS[name].option or f"{program.COMMANDS[name].option} FILE" in text


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (["finetune", "a.nam", "b.nam", "--quiet"], ["--model", "a.nam", "b.nam", "--quiet"]),
        (["evaluate", "a.nam", "--student", "b.nam"], ["--teacher", "a.nam", "--student", "b.nam"]),
        (["survey", "folder"], ["folder"]),
        (["finetune", "--quiet"], ["--quiet"]),
        (["finetune"], []),
    ],
)
def test_a_model_file_may_come_first_without_its_option(given, becomes, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(command_line, "run", lambda main: None)
    program.main(given)
    assert sys.argv == [f"jaxalias {given[0]}", *becomes]


def test_bad_input_of_a_sub_command_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    with pytest.raises(SystemExit) as stop:
        program.main(["evaluate", str(tmp_path / "none.nam")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxalias evaluate: ") and "none.nam" in line


def test_an_unknown_sub_command_is_one_line_and_exit_2(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        program.main(["polish"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'polish'" in line and "finetune" in line


def test_version_says_jaxalias_jax_and_devices(capsys) -> None:
    program.main(["--version"])
    own, of_jax, devices = capsys.readouterr().out.splitlines()
    assert own == f"jaxalias {jaxalias.__version__}" and of_jax == f"JAX {jax.__version__}"
    assert devices.startswith("devices: ") and str(jax.devices()[0]) in devices


def test_help_imports_neither_jax_nor_pydantic() -> None:
    code = (
        "import sys; from jaxalias.__main__ import main; main(['--help']); print({'jax', 'pydantic'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n") and "finetune" in done.stdout
