"""The command `jaxalias render`; see `jaxalias/commands/render.py`."""

from jaxalias.commands import command_line, render

if __name__ == "__main__":
    command_line.run(render.main)
