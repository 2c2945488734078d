"""The records of a run: faults in one line, copies that are checked, and no option without effect."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from small_runs import CONFIG, LSTM, music_config

from jaxalias import config as configs
from jaxalias.config import (
    CurvatureConfig,
    ESRConfig,
    FineTuneConfig,
    LossConfig,
    NMRConfig,
    OptimiserConfig,
    PretrainConfig,
    SineConfig,
    SoapConfig,
)

PRETRAIN = PretrainConfig(updates=1, batch_size=1, warm_up=0, frame=2048, frames=1)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"speed": 2}, "speed: Extra inputs are not permitted, got 2"),
        ({"batch_size": 0}, "batch_size: Input should be greater than 0, got 0"),
        ({"optimiser": {"ema_decay": 1.0}}, "optimiser.ema_decay: Input should be less than 1, got 1.0"),
        ({"sines": {"midi_low": 99, "midi_high": 50}}, "sines: midi_high must be above midi_low = 99.0, got 50.0"),
        ({"frame_s": float("nan")}, "frame_s: Input should be"),
        ({"music": {"rows": 2, "frame_s": 0.1}}, "music.loss: Field required"),
        ({"loss": {"aliases": {}}}, "loss.aliases needs sines.whole_cycles = true, got false"),
    ],
)
def test_a_fault_of_a_config_is_told_in_one_line(change: dict, line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FineTuneConfig.model_validate(CONFIG.model_dump() | change)
    told = configs.explain(caught.value)
    assert told.startswith(line)
    assert "\n" not in told


@pytest.mark.parametrize("record", [ESRConfig, NMRConfig])
@pytest.mark.parametrize("reduction", ["mean_of_ratios", "geometric", "soft_hinge", "pseudo_huber"])
def test_a_knee_is_given_exactly_where_a_reduction_has_one(record: Any, reduction: str) -> None:
    bent = reduction in ("soft_hinge", "pseudo_huber")
    assert record(reduction=reduction, knee=0.5 if bent else None).reduction == reduction
    with pytest.raises(
        ValidationError, match=f"knee must be {'given' if bent else 'none'} with reduction = {reduction}"
    ):
        record(reduction=reduction, knee=None if bent else 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimiserConfig(rewind_above=10.0), "rewind_above needs an average to go back to"),
        (
            lambda: OptimiserConfig(soap=SoapConfig(), curvature=CurvatureConfig()),
            "soap must be none with optimiser.curv",
        ),
        (
            lambda: PRETRAIN.model_copy(update={"optimiser": OptimiserConfig(curvature=CurvatureConfig())}),
            "optimiser.curvature must be none",
        ),
        (
            lambda: CONFIG.model_copy(update={"loss": LossConfig(aliases=NMRConfig())}),
            "aliases needs sines.whole_cycles",
        ),
        (lambda: music_config(loss=LossConfig(aliases=NMRConfig())), "loss.aliases must be none and loss.dc_weight 0"),
        (lambda: music_config(loss=LossConfig(dc_weight=1.0)), "loss.aliases must be none and loss.dc_weight 0"),
        (
            lambda: music_config(loss=LossConfig(esr=ESRConfig(reduction="ratio_of_sums"))),
            "loss.esr.reduction must not be ratio_of_sums for music",
        ),
        (lambda: LossConfig(esr=ESRConfig(weight=0.0), nmr=NMRConfig(weight=0.0)), "at least one of esr.weight"),
        (lambda: NMRConfig(reduction="ratio_of_sums"), "reduction"),
    ],
)
def test_an_option_without_effect_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()


def test_a_weight_of_the_aliases_alone_is_a_loss() -> None:
    """Of tones that tell them from harmonics."""
    alone = LossConfig(esr=ESRConfig(weight=0.0), nmr=NMRConfig(weight=0.0), aliases=NMRConfig(weight=1.0))
    CONFIG.model_copy(update={"loss": alone, "sines": SineConfig(whole_cycles=True)})


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 0}, {"speed": 2}, {"optimiser": {"learning_rate": -1.0}}, {"loss": None}, {"updates": 1.5},
        {"sines": {"midi_low": 200.0}},
    ],
)  # fmt: skip
def test_a_copy_is_checked_like_a_new_record(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CONFIG.model_copy(update=change)


def test_a_copy_has_the_changes_and_nothing_else() -> None:
    """Parts of it may be given as records or as plain JSON."""
    assert CONFIG.model_copy() == CONFIG
    copied = CONFIG.model_copy(update={"seed": 7, "sines": {"midi_low": 30}})
    assert (copied.seed, copied.sines) == (7, SineConfig(midi_low=30.0))
    assert copied.model_copy(update={"seed": CONFIG.seed, "sines": CONFIG.sines}) == CONFIG
    assert LSTM.model_copy(update={"hidden_size": 9}).hidden_size == 9
    assert json.loads(copied.model_dump_json())["seed"] == 7
