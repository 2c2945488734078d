"""The difference between student and target as one number: the terms of the loss and their weighted sum (`terms`).

The noise-to-mask ratio, with its critical bands and masking thresholds, is in `nmr`.
"""
