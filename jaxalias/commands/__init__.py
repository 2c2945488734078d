"""The command lines, one module each; only this package may import `weights_import`.

They share options and exit codes (`command_line`), training with checkpoints (`fine_tuning`), the measurement
(`measuring`) and its report (`report`).
"""
