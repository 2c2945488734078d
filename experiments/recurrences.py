"""The command `jaxalias recurrences`; see `jaxalias/commands/recurrences.py`."""

from jaxalias.commands import command_line, recurrences

if __name__ == "__main__":
    command_line.run(recurrences.main)
