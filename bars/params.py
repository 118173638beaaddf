"""Typed, frozen parameters: one model per block of params.yaml, each read by the stages that name it.

``params.yaml`` layers partial blocks (defaults, scale, slot, base experiment, experiment, scale's own word on the
experiment); ``bars.pipeline.experiments`` merges them and validates the result with the models here. A default stands
in one place: in params.yaml, and where that says nothing of a field, here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Slot = Literal["cifar10", "imagenet"]
PositiveInt = Annotated[int, Field(ge=1)]
# Batch norm takes its statistics of a batch: of one image alone there are none.
BatchSize = Annotated[int, Field(ge=2)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Decision = Literal["op", "depth", "width"]


def _each_once(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """In one order whatever was written, so that the same draw is the same parameters."""
    if len(set(decisions)) < len(decisions):
        raise ValueError("each decision once")
    return tuple(sorted(decisions, key=get_args(Decision).index))


Decisions = Annotated[tuple[Decision, ...], AfterValidator(_each_once)]


@dataclass(frozen=True)
class NoRerun:
    """Marks a field that says where or how fast a stage computes, not what: its change reruns no stage, ``but`` one.

    The hash of a stage's parameters, its checkpoints and the workflow's rules all go by it (``Block.deciding``).
    """

    but: str | None = None


class Block(BaseModel):
    """A validated, immutable block; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    def deciding(self, stage: str) -> dict[str, Any]:
        """JSON-able values of the fields that decide a stage's result, by sorted name."""
        values = self.model_dump(mode="json")
        return {name: values[name] for name in _deciding(type(self), stage)}


@functools.cache
def _deciding(model: type[Block], stage: str) -> tuple[str, ...]:
    """Names of the fields that are not marked, or for ``stage`` but not for others."""
    fields = {
        name: [mark for mark in info.metadata if isinstance(mark, NoRerun)] for name, info in model.model_fields.items()
    }
    return tuple(sorted(name for name, marks in fields.items() if all(mark.but == stage for mark in marks)))


# --------------------------------------------------------------------------------------------------- data, runtime
class DataParams(Block):
    """One data set: where its images come from, how they are cut, split and augmented."""

    source: Literal["digits", "cifar10", "imagefolder"] = Field(description="where the images come from")
    # Later stages read the images by the split's content hash, wherever they lie.
    path: Annotated[str | None, NoRerun(but="data")] = Field(
        None, description="folder of the images, or where to download them to"
    )
    label: str | None = Field(None, description="name written into every result; default: the source")
    image_size: Annotated[int, Field(ge=4)] = Field(description="height and width in pixels after resizing")
    classes: PositiveInt | tuple[str, ...] | None = Field(
        None, description="the first N classes, or their names; null: all"
    )
    valid_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        description="share of train held out for the alphas"
    )
    test_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.2, description="share held out as test (digits only)"
    )
    max_train: PositiveInt | None = Field(None, description="class-balanced subset of train (train + valid), in images")
    max_test: PositiveInt | None = Field(None, description="class-balanced subset of test, in images")
    split_seed: Annotated[int, Field(ge=0)] = Field(description="seed of every split; the same for all runs")
    download: Annotated[bool, NoRerun()] = Field(
        False, description="fetch the archive when it is not in path (cifar10 only)"
    )
    in_memory: Literal["auto", "always", "never"] = Field(
        "auto", description="hold all images as uint8, or stream them"
    )
    memory_limit_gb: Annotated[float, Field(gt=0)] = Field(
        4.0, description="GiB of uint8 images that auto keeps in memory"
    )
    workers: Annotated[int, Field(ge=0), NoRerun()] = Field(2, description="loader processes when images are streamed")
    crop_padding: Annotated[int, Field(ge=0)] = Field(0, description="zero padding in pixels before a random crop")
    flip: bool = Field(False, description="mirror half of the training images")
    resized_crop: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="smallest area of a random resized crop; null: none"
    )

    @property
    def name(self) -> str:
        """Of the data set, in every result."""
        return self.label or self.source


class RuntimeParams(Block):
    """How a stage computes; part of its parameters because threads and precision change the bits of a result."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$"), NoRerun()] = Field(
        description="auto, cpu, cuda, cuda:N"
    )
    threads: PositiveInt = Field(description="torch threads of one job")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="auto: bfloat16 autocast on CUDA, and on a CPU with AMX units for it; test images always in float32"
    )
    capture: Literal["auto", "on", "off"] = Field(description="replay training steps as CUDA graphs; auto: on CUDA")
    compile: Literal["auto", "on", "off"] = Field(
        description="torch.compile of what surrounds the convolutions of searched networks; auto: off"
    )
    passes: Literal["auto", "eager", "native"] = Field(
        description="elementwise parts of searched networks on a CPU: torch's, or compiled at first use; "
        "auto: compiled, for one thread"
    )


# -------------------------------------------------------------------------------------------------- space, binarisation
class SpaceParams(Block):
    """The search space and the template of its networks (BARS Sec. 4.1)."""

    stages: PositiveInt = Field(description="runs of normal cells, with a reduction cell between two")
    cells_per_stage: PositiveInt = Field(description="normal cells of a stage at full depth")
    nodes: PositiveInt = Field(description="intermediate nodes of a cell")
    widths: tuple[float, ...] = Field(description="relative width choices of a stage")
    primitives: tuple[Literal["binary_conv_3x3", "binary_conv_5x5", "shortcut", "none"], ...] = Field(
        description="candidate operations of an edge"
    )
    cell_types: Literal["stage", "shared", "cell"] = Field(
        description="one normal cell per stage, one for all (DARTS), or one per cell; reduction cells share one",
    )
    search_depth: bool = Field(description="search the number of cells per stage (else all are kept)")
    search_width: bool = Field(description="search the width per stage (else 1.0)")
    init_channels: PositiveInt = Field(description="channels of stage 1 at width 1; doubled at each reduction")
    stem: Literal["cifar", "imagenet"] = Field(description="3x3 convolution, or two with stride 2 each")
    stem_expand: Literal["tile", "conv1x1"] = Field(description="how c_1 stem channels become 4 c_1")
    op_shortcut: bool = Field(description="shortcut across every binary convolution of an edge")
    cell_shortcut: bool = Field(description="shortcut across every cell")
    strided_conv: Literal["staggered", "plain"] = Field(
        description="a binary convolution of stride 2: two, one pixel apart, of half the channels each, or one"
    )
    reduction_shortcut: Literal["binary_conv", "avgpool"] = Field(description="cell shortcut of a reduction cell")
    preprocess_shortcut: bool = Field(
        description="add the mean of the nodes before a cell to what its preprocessing makes of them"
    )
    head_norm: bool = Field(description="batch norm without affine part before pooling and classifier")
    norm: Literal["edge", "node"] = Field(description="affine BN per edge, or one non-affine BN per node")


class BinarizeParams(Block):
    """Binarisation of weights and activations (BARS Sec. 3.1, Eq. 1)."""

    weight_scale: Literal["tensor", "channel", "none"] = Field(
        description="beta: mean |W| per layer, per channel, or 1"
    )
    activation_clip: Annotated[float, Field(gt=0)] = Field(description="straight-through window of activations")
    weight_clip: Annotated[float, Field(gt=0)] = Field(description="straight-through window and clamp of weights")
    weight_gradient: Literal["exact", "unscaled"] = Field(
        description="gradient of a latent weight: beta times the weight's plus beta's own, or neither",
    )


# --------------------------------------------------------------------------------------------------- search, derive
class Ramp(Block):
    """A value that runs from start to end over the epochs."""

    start: float
    end: float
    shape: Literal["linear", "exponential", "constant"]

    @model_validator(mode="after")
    def _exponential_is_positive(self) -> Ramp:
        if self.shape == "exponential" and not (self.start > 0 and self.end > 0):
            raise ValueError("an exponential ramp needs start > 0 and end > 0")
        return self


class Budget(Block):
    """A budget of expected BiOps: absolute, a share of the space's largest architecture, or relative to a network."""

    biops: PositiveInt | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    reference: str | None = None
    factor: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Budget:
        ways = (self.biops is not None, self.fraction is not None, self.reference is not None)
        if sum(ways) != 1 or (self.reference is None) != (self.factor is None):
            raise ValueError("give exactly one of biops, fraction, and reference with factor")
        return self


class Health(Block):
    """What a search that worked looks like at its end; one that does not says so in its record and in the tables."""

    loss: Annotated[float, Field(gt=0)] = Field(
        description="largest training loss of the last epoch, relative to that of a guess among the classes"
    )
    flips: Fraction = Field(description="least share of binary weights whose sign differs from the start")
    budget: Fraction = Field(description="largest relative distance of E[BiOps] from the budget")
    entropy: Fraction = Field(description="largest mean entropy of a decision, as a share of that of a uniform one")
    entropy_pull: Annotated[float, Field(gt=0)] = Field(
        description="largest gradient of the entropy term in the last epoch, relative to that of the data"
    )


class SearchParams(Block):
    """The bilevel search (BARS Sec. 3.2, 4.2)."""

    epochs: PositiveInt = Field(description="passes over the weight half of train")
    batch_size: BatchSize = Field(description="images of a weight step, and of an alpha step")
    warmup_epochs: Annotated[int, Field(ge=0)] = Field(description="epochs with frozen alphas (Sec. 4.2.2)")
    operations: Literal["binary", "float"] = Field(
        description="what the supernet's convolutions are; float: weights and activations as they are, for comparison: "
        "budgets count them as if they were binary, and nothing is derived from it",
    )
    sampling: Literal["gumbel", "softmax", "hard"] = Field(
        description="relaxed Gumbel-Softmax (Eq. 5), plain softmax (DARTS), or one-hot, which computes the drawn alone"
    )
    straight_through: Decisions = Field(
        description="decisions whose gumbel draw is made one-hot, with the gradient of the relaxed one; hard: all"
    )
    temperature: Ramp = Field(description="tau of Eq. 5 over the epochs")
    entropy_weight: Ramp = Field(description="lambda of Eq. 6 over the epochs after warm-up")
    budget: Budget = Field(description="F of Eq. 7")
    capacity: Literal["target", "cap", "printed", "none"] = Field(
        description="where Eq. 7 acts: both sides of the budget, above (the authors' code), below (as printed), nowhere"
    )
    capacity_exponent: Annotated[float, Field(ge=0)] = Field(
        description="size of Eq. 7's exponent; with capacity_rate > 0, per unit of log(E[BiOps] / F)"
    )
    capacity_rate: Annotated[float, Field(ge=0)] = Field(
        description="step of the multiplier that holds E[BiOps] at F, added to the exponent; 0: a fixed exponent"
    )
    width_mask: Literal["activation", "feature"] = Field(
        description="soft width masks also scale binary activations, or real-valued features only"
    )
    weight_optimizer: Literal["adam", "sgd"] = Field(description="update rule of the supernet's weights")
    weight_sampling: Literal["same", "uniform"] = Field(
        description="architectures that train the weights: drawn like those of the alphas, or one-hot and uniform"
    )
    weight_lr: Annotated[float, Field(gt=0)] = Field(description="learning rate of the weights at the start")
    weight_lr_end: Annotated[float, Field(ge=0)] = Field(description="and at the end of its cosine")
    weight_momentum: Fraction = Field(description="sgd: momentum")
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="L2 on all weights")
    grad_clip: Annotated[float, Field(gt=0)] | None = Field(description="largest gradient norm of a weight step")
    alpha_lr: Annotated[float, Field(gt=0)] = Field(description="Adam learning rate of the alphas")
    alpha_betas: tuple[Fraction, Fraction] = Field(description="Adam betas of the alphas")
    alpha_weight_decay: Annotated[float, Field(ge=0)] = Field(description="Adam weight decay of the alphas")
    alpha_init_std: Annotated[float, Field(ge=0)] = Field(description="standard deviation of the initial logits")
    alpha_start: Literal["uniform", "budget"] = Field(
        description="logits before the first epoch: all alike, or moved, as little as it takes, to E[BiOps] = F"
    )
    alpha_every: PositiveInt = Field(description="weight steps per alpha step")
    may_fail: bool = Field(False, description="a diverged search is a result (Table 1, 'Failed'), not an error")
    health: Health = Field(description="what a search that worked looks like at its end")


class DeriveParams(Block):
    """From a distribution to one architecture (BARS Sec. 4.3)."""

    method: Literal["sample", "argmax", "random"] = Field(
        description="best of K draws, the mode, or uniform draws within the budget"
    )
    samples: PositiveInt = Field(description="K candidates")
    criterion: Literal["loss", "top1"] = Field(description="the best has the least cross-entropy, or most correct")
    batch_size: BatchSize = Field(
        description="images of a validation batch, whose own statistics normalise it; as many as valid has: one for all"
    )
    budget_tolerance: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="largest relative distance of a candidate's BiOps from the budget; null: any candidate"
    )
    max_draws: PositiveInt = Field(description="draws after which candidates within the budget are too few")
    shortfall: Literal["refuse", "nearest"] = Field(
        description="where they are too few: an error, or the draws nearest to the budget in their place"
    )


# --------------------------------------------------------------------------------------------------- train, evaluate
class RetrainParams(Block):
    """Training from scratch (BARS Sec. 5.1)."""

    epochs: PositiveInt = Field(description="passes over train + valid")
    batch_size: BatchSize = Field(description="images of a step")
    optimizer: Literal["adam", "sgd"] = Field(description="update rule")
    lr: Annotated[float, Field(gt=0)] = Field(description="largest learning rate")
    lr_end: Annotated[float, Field(ge=0)] = Field(description="learning rate at the end (cosine, linear, one_cycle)")
    schedule: Literal["cosine", "linear", "step", "one_cycle", "constant"] = Field(
        description="learning rate over the steps"
    )
    milestones: tuple[Fraction, ...] = Field((), description="step: points of decay, as shares of all epochs")
    decay: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="step: factor at each milestone")
    momentum: Fraction = Field(0.9, description="sgd: momentum")
    nesterov: bool = Field(False, description="sgd: Nesterov's form")
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="L2 on all parameters")
    grad_clip: Annotated[float, Field(gt=0)] | None = Field(description="largest gradient norm")
    label_smoothing: Fraction = Field(0.0, description="share of the target spread over all classes")
    drop_path: Fraction = Field(
        0.0, description="probability of dropping an edge's output at the last epoch, from 0 at the first"
    )


class EvaluateParams(Block):
    """Test accuracy of a trained network."""

    batch_size: PositiveInt = Field(description="images of a test batch")


class LatencyParams(Block):
    """Timing of Table 2's networks on the CPU, all in one job; for a whole scale."""

    throughput_batch: BatchSize = Field(description="images computed at once, beside one at a time")
    threads: PositiveInt = Field(description="cores that the job keeps to, and threads of every runtime")
    rounds: Annotated[int, Field(ge=2)] = Field(description="rounds over all networks and runtimes")
    round_ms: Annotated[float, Field(gt=0)] = Field(
        description="least milliseconds of a runtime's turn in a round; shorter calls are repeated"
    )
    checked_images: PositiveInt = Field(description="training images, at most, on which packed classes are compared")
    networks: tuple[str, ...] | None = Field(description="experiments that are timed; null: all that Table 2 shows")


class ModelParams(Block):
    """A hand-made network: a family of bars.models.baselines and its options."""

    family: str = Field(description="name in the registry of bars.models.baselines")
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the family")
    width: Annotated[float, Field(gt=0)] = Field(1.0, description="multiplier of every channel count")


# --------------------------------------------------------------------------------------------------- report
class ClaimsParams(Block):
    """When a claim counts as supported."""

    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="level of the interval over seeds")
    min_seeds: PositiveInt = Field(description="fewer seeds than this: not tested")
    collapse_share: Fraction = Field(description="share of shortcut and none edges above which a search failed")
    failed_guesses: Annotated[float, Field(ge=0)] = Field(
        description="top-1 accuracy, relative to that of a guess among the classes, below which a run failed"
    )
    ratio_tolerance: Fraction = Field(description="relative tolerance of a claimed ratio of operations or parameters")


class FiguresParams(Block):
    """How figures look."""

    palette: str = Field(description="seaborn palette")
    context: Literal["paper", "notebook", "talk"] = Field(description="seaborn context")
    dpi: PositiveInt = Field(description="resolution of the PNG files")


class ReportParams(Block):
    """Everything the tables and figures read from params.yaml."""

    claims: ClaimsParams
    figures: FiguresParams
