"""The command `jaxalias corrective-filter`; see `jaxalias/commands/corrective_filter.py`."""

from jaxalias.commands import command_line, corrective_filter

if __name__ == "__main__":
    command_line.run(corrective_filter.main)
