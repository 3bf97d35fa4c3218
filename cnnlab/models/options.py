"""The options of every architecture, typed: what `model:` in a recipe and the keys of a spec may say.

Free of torch, so that a recipe is checked before anything heavy is imported.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Activation = Literal["relu", "sigmoid", "tanh", "gelu", "silu", "identity"]
Initialisation = Literal["auto", "torch", "xavier", "he"]
Norm = Literal["batch", "none"]
Pool = Literal["max", "mean"]
Head = Literal["flatten", "max", "mean"]
Units = Annotated[int, Field(ge=1, le=65_536)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class ModelOptions(BaseModel):
    """What every architecture has: its name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    arch: str
    """NAME of a spec: an architecture, `torchvision:NAME` or `FILE.py:Class`."""


class OwnOptions(ModelOptions):
    """What cnnlab's own families share."""

    width_option: ClassVar[str | None] = "width"
    """The option that scales the net's cost, for `compare --match`."""

    activation: Activation = "relu"
    """The nonlinearity f after every hidden layer; `identity` leaves a linear model."""
    init: Initialisation = "auto"
    """Initial weights: He for the ReLU family and Xavier otherwise (auto), or as named; torch: PyTorch's own."""
    output_activation: Activation = "identity"
    """The nonlinearity on the outputs: `sigmoid` with the lecture's squared error, none with cross-entropy."""


class MlpOptions(OwnOptions):
    """Fully connected: `depth` hidden layers of `width` units."""

    depth: Annotated[int, Field(ge=0, le=1000)] = 2
    """Hidden layers; 0 is a linear classifier."""
    width: Units = 512
    """Units of a hidden layer."""
    batch_norm: bool = False
    """Batch normalisation before each hidden activation."""
    dropout: Probability = 0.0
    """Probability of dropping a hidden unit."""


class LenetOptions(OwnOptions):
    """LeNet-5 (LeCun et al. 1998), by default with its tanh and mean pooling."""

    width_option: ClassVar[str | None] = None

    activation: Activation = "tanh"
    pool: Pool = "mean"
    """Pooling: the largest (max) or the mean of each 2×2 window."""


class CnnOptions(OwnOptions):
    """5-8 weight layers: convolutions in three stages of growing width, pooling between, one fully connected."""

    depth: Annotated[int, Field(ge=5, le=8)] = 7
    """Weight layers: depth − 1 convolutions and one fully connected layer."""
    width: Units = 32
    """Channels of the first stage; the second has twice, the third four times as many."""
    norm: Norm = "batch"
    """Batch normalisation after each convolution, or none."""
    pool: Pool = "max"
    """Pooling: the largest (max) or the mean of each 2×2 window."""
    head: Head = "flatten"
    """What the fully connected layer sees of the last maps: all (flatten), or the largest (max) or mean of each: few
    weights, and images of any size fit (global pooling; Lin et al. 2014)."""
    dropout: Probability = 0.0
    """Probability of dropping an input of the fully connected layer."""


class ResidualOptions(OwnOptions):
    """The CIFAR nets of He et al. 2016, section 4.2: 6n + 2 weight layers in three stages."""

    depth: Annotated[int, Field(ge=8, le=1202)] = 20
    """Weight layers, 6n + 2: 8, 14, 20, 32, 44, 56, 110, …"""
    width: Units = 16
    """Channels of the first stage; doubled at each of the two following."""
    norm: Norm = "batch"
    """Batch normalisation after each convolution, or none."""

    @field_validator("depth")
    @classmethod
    def _six_n_plus_two(cls, depth: int) -> int:
        if (depth - 2) % 6:
            below = depth - (depth - 2) % 6
            raise ValueError(f"6n + 2: {below} or {below + 6} is nearest")
        return depth


class FastOptions(OwnOptions):
    """The time-to-accuracy net: whitened patches, three groups of two convolutions, one fully connected layer."""

    activation: Activation = "gelu"
    width: Units = 64
    """Channels of the first group."""
    group2: Annotated[int, Field(ge=1, le=64)] = 4
    """Channels of the second group, as a multiple of `width`."""
    group3: Annotated[int, Field(ge=1, le=64)] = 4
    """Channels of the third group, as a multiple of `width`."""
    skip_unpooled: bool = True
    """Leave out the last row and column of an odd map where pooling drops them: same outputs, less to compute."""
    skip_products: bool = True
    """In bf16 on a CPU, compute the third group with fewer products: its first convolution by Winograd's F(2×2, 3×3)
    (with `skip_unpooled`), its second without those with padding."""
    whiten_bias_epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    """Epochs in which the biases of the whitening layer are trained; its kernels never are."""


class SeqOptions(OwnOptions):
    """The recipe's own list of layers, such as `[{conv: 32}, relu, {max-pool: 2}, flatten, {linear: 10}]`."""

    width_option: ClassVar[str | None] = None

    layers: list[Any] = Field(min_length=1, max_length=1000)
    """The layers, first to last: see `cnnlab.models.seq`."""
    input: Annotated[str, Field(pattern=r"^[1-9]\d{0,3}x[1-9]\d{0,4}x[1-9]\d{0,4}$")] | None = None
    """CxHxW that the layers were thought for: what `--dry-run` shows when no `--input` is given."""


class TorchvisionOptions(ModelOptions):
    """A net of torchvision, untrained, its stem adapted to small images."""

    stem: Literal["auto", "small", "original"] = "auto"
    """small: first convolution 3×3 stride 1 and no pooling after it; auto: small up to 64×64 pixels."""


class UserOptions(ModelOptions):
    """A user's own `nn.Module`; further keys are handed to its constructor."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
