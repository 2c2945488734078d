"""The training loop and all that one update needs.

Batches of tones and music (`exercises`, `excerpts`) cut into frames (`frames`), loss and gradient of a batch
(`learning`), one update (`runs`), the loop over updates (`loop`), the search for a stable learning rate
(`rate_search`), several devices (`parallel`), and checkpoints (`checkpoints`).
"""
