"""The command `jaxalias listening-test`; see `jaxalias/commands/listening_test.py`."""

from jaxalias.commands import command_line, listening_test

if __name__ == "__main__":
    command_line.run(listening_test.main)
