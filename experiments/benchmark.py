"""The command `jaxalias benchmark`; see `jaxalias/commands/benchmark.py`."""

from jaxalias.commands import benchmark, command_line

if __name__ == "__main__":
    command_line.run(benchmark.main)
