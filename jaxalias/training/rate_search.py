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


def begin(run: Run, hooks: Hooks = SILENT) -> Progress:
    """The progress after the first updates, at the learning rate of each student's config or a lower one.

    The first updates of the run are a trial. A student keeps its rate if the validation loss of its averaged parameters
    has not risen by more than the config allows (`RateSearchConfig`). Otherwise the trial is repeated at half the rate.
    The result for each student is the same as if it were trained alone. The last trial is part of the run, which
    continues from there. After twelve halvings the run begins at the rate reached, without another trial.

    Args:
        run: the compiled functions.
        hooks: `on_update` gets the updates of every trial, each trial from update 1. If `should_stop` returns true, the
            run stays before its first update. Nothing is saved.
    """
    search = run.config.rate_search if isinstance(run.config, FineTuneConfig) else None
    if search is None:
        return loop.begin(run)
    rates = list(run.rates)
    silent = Hooks(on_update=hooks.on_update, should_stop=hooks.should_stop)
    first = _validated(run, run.start(rates).average)
    for _ in range(_MOST_HALVINGS):
        before = loop.begin(run, rates)
        try:
            after = loop.advance(run, before, silent, until=search.updates)
        except loop.DivergedError:
            passed = np.zeros(len(rates), bool)
        else:
            if hooks.should_stop():
                break
            found = _validated(run, after.state.average)
            passed = found["loss"] <= search.most_loss * first["loss"]  # NaN fails
            passed &= found["ESR"] <= np.maximum(search.most_esr, first["ESR"])
            if passed.all():
                return after
        rates = [rate if kept else rate / 2 for rate, kept in zip(rates, passed, strict=True)]
    return loop.begin(run, rates)


def _validated(run: Run, params: Params) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in run.validate(params).items()}
