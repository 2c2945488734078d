"""The largest stable learning rate of a model: the first updates at lower and lower rates, until they do little harm.

It differs by 100 times between captures of one kind. Of six captures of amplifiers by LSTMs the most robust gains most
from a rate that leaves the most delicate one with 90 000 times its loss after 50 updates, which 3000 more do not mend
(experiments/RECIPES.md, "The rate that a model can take").
"""

import numpy as np

from jaxalias.config import FineTuneConfig
from jaxalias.training import loop
from jaxalias.training.loop import SILENT, Hooks, Progress
from jaxalias.training.run import Run

_MOST_HALVINGS = 12


def begin(run: Run, hooks: Hooks = SILENT) -> Progress:
    """The progress to go on from: after the first updates, at the rate of each student's config, or a lower one.

    The first updates of the run are tried. A rate is kept if then, on the validation batches, the average that would be
    exported has not lost more than is allowed (`RateSearchConfig`); else they are tried again at half of it. Each
    student's trials are those that it would have alone. The last ones are part of the run: it goes on from there. After
    twelve halvings it begins at the rate that is left.

    Args:
        hooks: told of every update of every trial, each trial from update 1; asked before each update whether to stop,
            and then the run is before its first update. Nothing is saved.
    """
    search = run.config.rate_search if isinstance(run.config, FineTuneConfig) else None
    if search is None:
        return loop.begin(run)
    rates = list(run.rates)
    silent = Hooks(on_update=hooks.on_update, should_stop=hooks.should_stop)
    for _ in range(_MOST_HALVINGS):
        before = loop.begin(run, rates)
        try:
            after = loop.advance(run, before, silent, until=search.updates)
        except loop.DivergedError:
            passed = np.zeros(len(rates), bool)
        else:
            if hooks.should_stop():
                break
            found = {name: np.asarray(value) for name, value in run.validate(after.state.average).items()}
            passed = found["loss"] <= search.most_loss * np.array(before.best_loss)  # NaN fails
            passed &= found["ESR"] <= search.most_esr
            if passed.all():
                return after
        rates = [rate if kept else rate / 2 for rate, kept in zip(rates, passed, strict=True)]
    return loop.begin(run, rates)
