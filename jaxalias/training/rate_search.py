"""The largest stable learning rate of a model: repeat the first updates at lower rates until the loss is stable.

This rate differs by 100x between captures of one kind. Of six LSTM captures of amplifiers, the most robust one gains
most from a rate at which the least robust one has 90 000 times its loss after 50 updates; 3000 more updates do not
repair it (experiments/RECIPES.md, "LSTMs").
"""

import numpy as np

from jaxalias.config import FineTuneConfig
from jaxalias.models import Params
from jaxalias.training import loop
from jaxalias.training.loop import SILENT, Hooks, Progress
from jaxalias.training.run import Run

_MOST_HALVINGS = 12


def begin(run: Run, hooks: Hooks = SILENT, saved: Progress | None = None) -> Progress:
    """The progress after the first updates, at the learning rate of each student's config or a lower one.

    The first updates of the run are a trial. A student keeps its rate if the validation loss of its averaged parameters
    has not risen by more than the config allows (`RateSearchConfig`). Otherwise the trial is repeated at half the rate.
    The result for each student is the same as if it were trained alone. The last trial is part of the run, which
    continues from there. A rate that was halved twelve times is kept without a test.

    Args:
        run: the compiled functions.
        hooks: get the updates of every trial, each trial from update 1. Progress within a trial goes to
            `on_checkpoint`; that of a whole trial does not, because the trial may have to be repeated. If `should_stop`
            returns true, the progress so far is returned.
        saved: progress to continue from; if it is beyond the trial, it is returned as it is. None: the first update.

    Raises:
        DivergedError: no student is finite at the lowest rate.
    """
    search = run.config.rate_search if isinstance(run.config, FineTuneConfig) else None
    if search is None:
        return saved or loop.begin(run)
    last = min(search.updates, run.config.updates)
    if saved and saved.updates_done >= last:
        return saved

    def save(parts: list[Progress | None]) -> None:
        if any(part and part.updates_done < last for part in parts):
            hooks.on_checkpoint(parts)

    start = loop.begin(run)
    first = _validated(run, start.state.average)
    lowest = np.asarray(start.state.rate) / 2**_MOST_HALVINGS
    progress = saved or start
    while True:
        rates = np.asarray(progress.state.rate)
        try:
            progress = loop.advance(run, progress, hooks._replace(on_checkpoint=save), until=last)
        except loop.DivergedError:
            if (rates <= lowest).all():
                raise
            kept = rates <= lowest
        else:
            if progress.updates_done < last:
                return progress
            found = _validated(run, progress.state.average)
            kept = found["loss"] <= search.most_loss * first["loss"]  # NaN fails
            kept &= found["ESR"] <= np.maximum(search.most_esr, first["ESR"])
            kept |= rates <= lowest
            if kept.all():
                return progress
        lower = np.where(kept, rates, rates / 2).tolist()
        for index in np.flatnonzero(~kept).tolist():
            hooks.on_lowered(index, lower[index])
        progress = start._replace(state=run.start(lower))


def _validated(run: Run, params: Params) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in run.validate(params).items()}
