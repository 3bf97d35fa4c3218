"""The typed recipe: every key, its unit, its range and its default, in one place.

Strict: unknown keys are refused and nothing is converted, so that `epochs: "3"` or `lr: fast` never passes.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from cnnlab.choices import Precision
from cnnlab.models.options import CnnOptions, ModelOptions

MAX_SEED = 2**53
"""The largest whole number that every JSON reader keeps exact."""
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Section(BaseModel):
    """A part of the recipe."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class AugmentSection(Section):
    """What is done to training images, anew in every epoch. 0 and false switch a kind off."""

    crop: Literal["auto"] | Annotated[int, Field(ge=0, le=256)] | Annotated[float, Field(gt=0, lt=0.5)] = 0
    """Pixels by which an image is shifted at most, borders reflected; below a half: that part of its smaller side,
    rounded; auto: an eighth of it."""
    flip: Literal["auto"] | bool = False
    """Mirror half of the images; auto: where a mirror image keeps its meaning (photographs, not digits)."""
    alternate: bool = False
    """Where images are mirrored: a random half in the first epoch, then in turns, each in every other epoch, instead
    of anew by chance (Jordan 2024)."""
    cutout: Annotated[int, Field(ge=0, le=1024)] = 0
    """Side in pixels of a square blanked at a random place (DeVries and Taylor 2017)."""
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    """α of the Beta distribution from which images and labels are blended (Zhang et al. 2018)."""


class DataSection(Section):
    """The data, and how they are divided."""

    name: str | None = None
    """A data set's name, a folder or an archive; none: CIFAR-10, or digits where it cannot be had."""
    val_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Part of the training set that is kept for validation, stratified by class; 0: no validation."""
    split_seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    """Seed of that choice alone, so that nets of different seeds share a split; none: the run's seed."""
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Pixels to which pictures are resized, square; none: all must agree."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read instead of stopping."""
    allow_duplicates: bool = False
    """Accept a folder in which the same picture stands in two of train, val and test."""
    augment: AugmentSection = AugmentSection()


class TrainSection(Section):
    """The training itself."""

    epochs: Count = 20
    """Passes over the training set."""
    min_steps: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """On a small data set, epochs are raised until there are this many steps; not where epochs were asked for."""
    batch_size: Count = 128
    """Images of a step, over all processes. Of several processes each normalises its own share (batch norm); running
    statistics are made equal, by their mean, before evaluation and before every save."""
    loss: Literal["cross-entropy", "mse"] = "cross-entropy"
    """mse is the lecture's ½ Σ (a − y)² over the outputs, on one-hot labels; both are means over images."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the label that is spread over all classes, in training only."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest Euclidean norm of all gradients together; none: not clipped."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of the moving average of weights that is evaluated and kept; 0: the weights themselves."""
    lookahead: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Steps after which weights and their slow average are drawn together, ever closer to the average, which the
    training ends with (Zhang et al. 2019; Jordan 2024); 0: never."""
    initial_scale: Annotated[float, Field(ge=0.125, le=1)] = 1.0
    """Side of the training images in the first steps, as a part of their own: small images cost less, and nets learn
    the coarse first. It grows by eighths in equal times. Raised where a side would have fewer than 16 pixels. For nets
    that take any size; 1: full from the start."""
    full_scale_from: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Part of the steps after which the images have their full size, where `initial_scale` is below 1."""
    freeze_up_to: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The layer, by its name, up to which the weights are frozen for the last part of the steps; PyTorch then no longer
    back-propagates to them. Until then they have the whole schedule of the learning rate (Brock et al. 2017,
    FreezeOut); none: all train to the end."""
    freeze_from: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Part of the steps after which they are frozen; batch normalisation goes on with each batch's statistics."""
    rest_up_to: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The layer, by its name, up to which the weights rest in every second step, for the first part of the steps: of
    the first layers the maps are large, so that much is saved. PyTorch back-propagates nothing to them in those steps;
    none: all train in every step."""
    rest_until: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Part of the steps after which they train in every step."""
    patience: Count | None = None
    """Epochs without a better validation accuracy after which training ends; none: never."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Time budget: training ends with the epoch in which it is used up, or before one that would not fit."""
    precision: Precision = "auto"
    """auto: bf16 where the processor computes it in hardware, fp32 elsewhere."""
    compile: bool = False
    """Compile the net by torch.compile: minutes before the first step, then faster ones, mostly on a GPU."""
    select: Literal["best", "last"] = "best"
    """Which weights are tested: those of the best validation epoch, or the last."""


class OptimSection(Section):
    """The optimiser and its learning rate."""

    name: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    """muon: the weights of all layers but the last by `muon_lr` and `muon_momentum` (Jordan 2024), what is left by SGD.
    For nets whose layers batch normalisation follows."""
    lr: Annotated[float, Field(gt=0, le=1000)] = 1e-3
    """Learning rate at its highest."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD; β₁ of Adam."""
    nesterov: bool = True
    """Nesterov's form of momentum (SGD)."""
    muon_lr: Annotated[float, Field(gt=0, le=1000)] = 0.24
    """Learning rate of Muon's weights, where `lr` is at its highest; the schedule is the same. `--lr` changes it in
    proportion."""
    muon_momentum: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Momentum of Muon's weights, in Nesterov's form."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-4
    """Decay of the weights; biases and normalisation parameters are left alone."""
    norm_bias_lr: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """Learning rate of the biases of batch normalisation, as a multiple of `lr`. At 1 they are not decayed; otherwise
    their weight decay is divided by it."""
    schedule: Literal["constant", "step", "cosine", "linear", "one-cycle", "triangle"] = "one-cycle"
    """step: a tenth after half and after three quarters of the steps; linear: straight to 0; see
    cnnlab/training/schedule.py."""
    warmup: Annotated[float, Field(ge=0)] | None = None
    """Epochs of linear rise at the start; none: no rise, or under one-cycle 30 % of the run."""


class Recipe(Section):
    """One experiment."""

    data: DataSection = DataSection()
    model: SerializeAsAny[ModelOptions] = CnnOptions(arch="cnn")
    train: TrainSection = TrainSection()
    optim: OptimSection = OptimSection()
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    """Of initial weights, split, order, augmentation and dropout."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of a process; none: all cores, shared out among the processes of a machine."""

    @property
    def split_seed(self) -> int:
        """The seed by which the validation part is chosen."""
        return self.seed if self.data.split_seed is None else self.data.split_seed

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.train.loss == "mse" and self.train.label_smoothing:
            raise ValueError("train.label_smoothing goes with cross-entropy only")
        if self.optim.name == "sgd" and self.optim.nesterov and self.optim.momentum == 0:
            raise ValueError("optim.nesterov needs a momentum above 0; set optim.nesterov=false for plain SGD")
        if self.optim.schedule == "triangle" and self.optim.warmup is not None:
            raise ValueError(
                "optim.warmup does not go with optim.schedule=triangle, whose rise has a length of its own"
            )
        if self.optim.name == "muon" and self.optim.momentum == 0:
            raise ValueError("optim.name=muon needs an optim.momentum above 0")
        return self
