"""A listening test as one self-contained HTML file, which plays the sounds and saves the ratings [disk]."""

import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jaxalias import disk
from jaxalias.listening.stimuli import Order, Trial
from jaxalias.listening.webmushra import TRAINING
from jaxalias.reporting import page


def write(
    path: Path, title: str, test_id: str, sample_rate: int, trials: Sequence[Trial], orders: Sequence[Order]
) -> None:
    """Write the page of a test. The file that it saves has the columns of webMUSHRA (see `ratings.read`).

    Ratings stay in the browser (localStorage, under `test_id`) until the listener discards them, so a page that is
    closed and opened again continues.

    Args:
        path: of the HTML file.
        title: of the page.
        test_id: unique name of the test (`stimuli.test_id`).
        sample_rate: Hz.
        trials: matched (see `listening.match`): equally long stimuli of peaks below full scale, the reference first.
        orders: a hash of the listener's name selects one of them.
    """
    test = {
        "id": test_id,
        "sample_rate": sample_rate,
        "training": TRAINING,
        "trials": [
            {
                "name": trial.name,
                "seconds": len(next(iter(trial.stimuli.values()))) / sample_rate,
                "stimuli": [{"name": name, "flac": page.encode(y, sample_rate)} for name, y in trial.stimuli.items()],
            }
            for trial in trials
        ],
        "orders": [order._asdict() for order in orders],
    }
    text = page.fill(
        files("jaxalias.listening") / "page_template.html", title=html.escape(title), test=page.embedded(test)
    )
    disk.write_text(path, text)
