"""The command `jaxalias evaluate`; see `jaxalias/commands/evaluate.py`."""

from jaxalias.commands import command_line, evaluate

if __name__ == "__main__":
    command_line.run(evaluate.main)
