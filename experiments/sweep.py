"""The command `jaxalias sweep`; see `jaxalias/commands/sweep.py`."""

from jaxalias.commands import command_line, sweep

if __name__ == "__main__":
    command_line.run(sweep.main)
