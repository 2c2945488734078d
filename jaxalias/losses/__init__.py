"""The difference between student and target as one number: its terms and their weighted sum (`terms`).

The noise-to-mask ratio, with its critical bands and masking thresholds, is in `nmr`.
"""
