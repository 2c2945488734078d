"""Seconds of music instead of minutes, for tests that train by a command.

A run with little music cannot be resumed by the command itself: its music differs.
"""

from typing import Any

from jaxalias import fine_tuning
from jaxalias.config import FineTuneConfig
from jaxalias.training import plan
from jaxalias.training.plan import Played

SECONDS, HELD_OUT_S = 2.0, 1.0
_play_music = fine_tuning.play_music


def play_music(model: Any, params: Any, config: FineTuneConfig, *rest: Any) -> dict[str, Played]:
    """As `jaxalias.fine_tuning.play_music`, with little of each kind."""
    short = {name: each.model_copy(update={"seconds": SECONDS}) for name, each in plan.music_of(config).items()}
    return _play_music(model, params, config.model_copy(update=short), *rest)
