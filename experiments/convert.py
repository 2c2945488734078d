"""The command `jaxalias convert`; see `jaxalias/commands/convert.py`."""

from jaxalias.commands import command_line, convert

if __name__ == "__main__":
    command_line.run(convert.main)
