"""A MUSHRA listening test: its sounds (`stimuli`), its form as a page (`page`) and for webMUSHRA (`webmushra`).

`ratings` reads the scores of the listeners, `statistics` analyses them.
"""

from jaxalias.listening.stimuli import (
    ANCHOR,
    ORDERS,
    REFERENCE,
    SHORTEST_S,
    SWEEPS_HZ,
    TARGET_LUFS,
    Order,
    Trial,
    anchor,
    describe,
    fade,
    loudness,
    match,
    orders,
    refuse_unusable,
    sweep,
    test_id,
)

__all__ = [
    "ANCHOR",
    "ORDERS",
    "REFERENCE",
    "SHORTEST_S",
    "SWEEPS_HZ",
    "TARGET_LUFS",
    "Order",
    "Trial",
    "anchor",
    "describe",
    "fade",
    "loudness",
    "match",
    "orders",
    "refuse_unusable",
    "sweep",
    "test_id",
]
