"""The command lines, one module each; only this package may import `weights_import`.

`program` is the program `jaxalias`, of which each command is a sub-command. The commands share exit codes
(`command_line`, `errors`), arguments (`parsing`), input and output (`reading`, `writing`), the choice of a channel
(`channels`), what may be written (`overwriting`), progress and interruption (`long_runs`), several hosts (`hosts`),
training with checkpoints (`fine_tuning`), the measurement (`measuring`) and its report (`report`).
"""
