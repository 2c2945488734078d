"""The command `jaxalias finetune`; see `jaxalias/commands/finetune.py`."""

from jaxalias.commands import command_line, finetune

if __name__ == "__main__":
    command_line.run(finetune.main)
