"""The command `jaxalias survey`; see `jaxalias/commands/survey.py`."""

from jaxalias.commands import command_line, survey

if __name__ == "__main__":
    command_line.run(survey.main)
