"""The error that every command ends with one line for."""


class BadInputError(Exception):
    """What the user gave cannot be used: one line, exit code 2."""
