"""The command `jaxalias pretrain`; see `jaxalias/commands/pretrain.py`."""

from jaxalias.commands import command_line, pretrain

if __name__ == "__main__":
    command_line.run(pretrain.main)
