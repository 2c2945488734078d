"""The records of recurrent networks, and the union of the networks of all kinds, discriminated by `kind`."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from jaxalias.config.record import Record
from jaxalias.config.wavenet import ConvNetConfig, LinearConfig, WaveNetConfig


class RecurrentConfig(Record):
    """A stack of recurrent layers and a dense output: y = g_out (lin(rec([g_in x, knobs])) + skip g_in x)."""

    hidden_size: PositiveInt
    num_layers: PositiveInt = 1
    input_size: PositiveInt = Field(1, description="the signal, and after it the knobs")
    head_bias: bool = True
    skip: bool = Field(True, description="the input is added to the output")
    input_gain: PositiveFloat = Field(1.0, description="linear, before the network and the skip connection")
    output_gain: PositiveFloat = Field(1.0, description="linear, after both")


class LSTMConfig(RecurrentConfig):
    """Stacked LSTM and a dense output: GuitarML SimpleRNN (two bias vectors, skip), RTNeural and NAM LSTM."""

    kind: Literal["lstm"] = "lstm"
    bias_vectors: Literal[0, 1, 2] = Field(2, description="per layer: 2 as PyTorch, 1 if the file holds their sum")
    stored_initial_state: bool = Field(False, description="starts from a state in the file, not from zeros")


class GRUConfig(RecurrentConfig):
    """Stacked GRU, with the reset gate after the product as in PyTorch, and a dense output: SimpleRNN and RTNeural."""

    kind: Literal["gru"] = "gru"
    bias_vectors: Literal[0, 2] = Field(2, description="per layer; not their sum: the reset gate scales one only")


ModelConfig = Annotated[
    LSTMConfig | GRUConfig | WaveNetConfig | ConvNetConfig | LinearConfig, Field(discriminator="kind")
]
