"""Which learning rate a model can take: the first updates, tried at lower and lower rates until they do little harm.

Models of one kind take very different rates. Of six captures of amplifiers by LSTMs the most robust gains most from a
rate that leaves the most delicate one with 90 000 times its loss after 50 updates, which 3000 more do not mend
(experiments/RECIPES.md, "The rate that a model can take").
"""

from collections.abc import Callable

import numpy as np

from jaxalias.training import loop
from jaxalias.training.runs import Run

_MOST_HALVINGS = 12


def find(
    run: Run,
    *,
    on_update: Callable[[dict[str, float]], None] = lambda record: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[float]:
    """The learning rate of each student: that of its config, halved so often that its trial is passed.

    A trial is the first updates of the run. It is passed if then, on the validation tones, the average that would be
    exported has not lost more than is allowed (`TrialConfig`). Each student's trials are those that it would have
    alone. After twelve halvings the rate is as it is.

    Args:
        on_update: as for `loop.advance`; one trial comes after the other, each from update 1.
        should_stop: asked before each update; then the rates are those of the trial that was not finished.
    """
    config = run.students[0].config
    rates = [student.config.optimiser.learning_rate for student in run.students]
    if config.trial is None:
        return rates
    for _ in range(_MOST_HALVINGS):
        before = loop.begin(run, rates)
        try:
            after = loop.advance(run, before, until=config.trial.updates, on_update=on_update, should_stop=should_stop)
        except loop.DivergedError:
            passed = np.zeros(len(rates), bool)
        else:
            found = {name: np.asarray(value) for name, value in run.validate(after.state.average).items()}
            passed = found["loss"] <= config.trial.most_loss * np.array(before.best_loss)  # what is no number does not
            passed &= found["ESR"] <= config.trial.most_esr
        if passed.all() or should_stop():
            break
        rates = [rate if ok else rate / 2 for rate, ok in zip(rates, passed, strict=True)]
    return rates
