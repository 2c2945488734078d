"""The settings of models and runs, as frozen validated records without behaviour.

`networks` and `wavenet` hold the records of the models, `run` those of a run, `presets` the functions that return a
whole run for a kind of model, and `record` what all records share. Every record converts with
`model_dump(mode="json")` and `model_validate` (pydantic). An unknown key, a wrong type or a value out of range is an
error that names the key, the rule and the value (`explain`).
"""

from jaxalias.config.networks import GRUConfig, LSTMConfig, ModelConfig, RecurrentConfig
from jaxalias.config.record import Record, explain
from jaxalias.config.run import (
    CurvatureConfig,
    ESRConfig,
    FineTuneConfig,
    LossConfig,
    LowpassConfig,
    MusicConfig,
    NMRConfig,
    OptimiserConfig,
    PretrainConfig,
    RateSearchConfig,
    Reduction,
    SineConfig,
    SoapConfig,
)
from jaxalias.config.wavenet import ConvNetConfig, LayerArrayConfig, LinearConfig, WaveNetConfig

__all__ = [
    "ConvNetConfig",
    "CurvatureConfig",
    "ESRConfig",
    "FineTuneConfig",
    "GRUConfig",
    "LSTMConfig",
    "LayerArrayConfig",
    "LinearConfig",
    "LossConfig",
    "LowpassConfig",
    "ModelConfig",
    "MusicConfig",
    "NMRConfig",
    "OptimiserConfig",
    "PretrainConfig",
    "RateSearchConfig",
    "Record",
    "RecurrentConfig",
    "Reduction",
    "SineConfig",
    "SoapConfig",
    "WaveNetConfig",
    "explain",
]
