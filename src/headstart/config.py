"""A study, written down: every setting with its default, its limits and its reason.

The order of authority is preset < study file < ``--set`` < flags. An unknown key is an error that
names the nearest known one. Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
MOST_CHANNELS = 256


class StudyError(ValueError):
    """A mistake in what the user asked for, told in one line: what, where, what to do."""

    def __init__(self, line: str) -> None:
        # Keys and paths may hold line breaks and broken letters; a terminal must not see them.
        super().__init__("".join(c if c.isprintable() else " " for c in line))


class Frozen(BaseModel):
    """A group of settings: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``yes`` and ``on`` as true, which would pass for 1."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("cannot be a yes or no")
        return value


# --- what a recipe is made of ------------------------------------------------------------------


class Optim(Frozen):
    """An optimiser and its schedule."""

    name: Literal["sgd", "lars", "adamw"] = "sgd"
    lr: Positive = 0.06
    """Base learning rate; ``scale`` says how it grows with the batch size B."""
    scale: Literal["linear", "sqrt", "none"] = "linear"
    """lr·B/256, lr·√B, or lr as it stands."""
    momentum: Probability = 0.9
    weight_decay: NotNegative = 5e-4
    decay_norm_and_bias: bool = False
    warmup_epochs: NotNegative = 0.0
    """Linear warm-up, moved every step; at most a tenth of the run."""
    schedule: Literal["cosine", "constant"] = "cosine"
    cosine_per: Literal["step", "epoch"] = "step"


OF_COLOURS = ("saturation", "hue", "gray_p", "solarize_p")
"""Settings of a view that mean something for colour photographs only."""


class View(Frozen):
    """How one random view of an image is made; a ``*_p`` is the chance that it happens."""

    crop: tuple[Share, Share] = (0.2, 1.0)
    """Area of the crop as a share of the image, smallest and largest."""
    aspect: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip_p: Probability = 0.5
    jitter_p: Probability = 0.8
    brightness: NotNegative = 0.4
    contrast: NotNegative = 0.4
    saturation: NotNegative = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Largest turn of the colour circle, as a share of the whole circle."""
    gray_p: Probability = 0.2
    blur_p: Probability = 0.5
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    """Standard deviation of the blur in pixels of the view; the kernel spans a tenth of it."""
    solarize_p: Probability = 0.0

    def without_colours(self) -> View:
        """The same view of channels that are no colours: nothing that turns or mixes colours.

        Crops, flips, blur, brightness and contrast stay.
        """
        return self.model_copy(update=dict.fromkeys(OF_COLOURS, 0.0))

    @field_validator("crop", "aspect", "blur_sigma")
    @classmethod
    def _smallest_first(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] > limits[1]:
            raise ValueError(f"the smallest comes first, not {limits[0]:g} before {limits[1]:g}")
        return limits


class Recipe(Frozen):
    """Everything that turns a method's equation into a training: its settings, optimiser, views."""

    settings: dict[str, Any] = {}
    """Keyword arguments of the method's constructor."""
    optim: Optim = Optim()
    view1: View = View()
    view2: View = View()


# --- the study ---------------------------------------------------------------------------------


class Data(Frozen):
    """Where the images are and how they are parted."""

    unlabeled: Path | None = None
    """A folder tree of images in any nesting, a .zip or .tar of one, a CSV or Parquet file with
    a column `path`, a Parquet file of images, a saved Hugging Face data set, WebDataset shards
    (`photos-{000..003}.tar`) here or at an address (`s3://bucket/photos-{000..999}.tar`),
    `hf:NAME` or `torchvision:NAME`; without it only the labelled training images are pretrained
    on."""
    labeled: Path | None = None
    """Class folders, with or without train/validation/test above them, a .zip or .tar of them,
    or what `unlabeled` takes else, with `label`, perhaps `split` and `group`."""
    train_joins_pool: bool = True
    """Whether labelled training images (never validation or test) join the unlabelled pool."""
    split: tuple[Share, Share, Share] = (0.6, 0.2, 0.2)
    """Train, validation and test shares, where the folders do not say."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Of a split that has to be made; the study's seeds share it."""
    groups: str | None = None
    """Images that must stay in one part: a CSV file (id or file name, group), a regular expression
    with one group on the path, or ``folder`` for the folder an image lies in."""
    near_duplicates: bool = True
    """Whether nearly identical images (recompressed, resized, mirrored) are kept on one side, as
    identical ones always are."""
    near_distance: Annotated[int, Field(ge=0, le=10)] = 6
    """Of two nearly identical images' 64-bit hashes, in bits; the pixels have to agree too."""
    limit: Annotated[int, Field(ge=2)] | None = None
    """At most so many pool images, and so many of each class: to try a study."""
    cache: Path | None = None
    """Folder of the decoded pixels, shared by runs; by default ``.headstart-cache`` beside the
    run."""
    cache_budget: int | None = None
    """Disk for decoded pixels, like 200GB; what it cannot hold is decoded again in every epoch,
    the pool before labelled images. By default all are kept. It changes no result."""
    cache_factor: Annotated[float, Field(ge=1, le=4)] = 1.25
    """Side of a cached image over the training size."""
    channels: int | Literal["rgb"] = "rgb"
    """``rgb`` makes a colour picture of every file. A number is for images whose channels are no
    colours (microscopy, satellites, depth): a file must have so many; TIFF, .npy, grey PNG."""
    value_range: tuple[float, float] | None = None
    """With a number of channels: the values that become 0 and 1, those beyond them are clipped; by
    default the range of a file's 8- or 16-bit type, and 0 to 1 of floating point."""

    @field_validator("cache_budget", mode="before")
    @classmethod
    def _of_bytes(cls, size: Any) -> Any:
        return size if size is None else number_of_bytes(size)

    @field_validator("channels", mode="before")
    @classmethod
    def _a_number_or_rgb(cls, channels: Any) -> Any:
        text = str(channels).strip().lower()
        if text == "rgb":
            return "rgb"
        if isinstance(channels, bool) or not (text.isdecimal() and 1 <= int(text) <= MOST_CHANNELS):
            raise ValueError(f"write rgb, or a number from 1 to {MOST_CHANNELS}")
        return int(text)

    @field_validator("value_range")
    @classmethod
    def _low_before_high(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits and not (isfinite(limits[0]) and isfinite(limits[1]) and limits[0] < limits[1]):
            raise ValueError(f"two numbers, the lower first, not {list(limits)}")
        return limits

    @model_validator(mode="after")
    def _range_of_channels(self) -> Data:
        if self.value_range and self.channels == "rgb":
            raise ValueError(
                "value_range is for images whose channels are no colours; give data.channels a "
                "number, or leave it out"
            )
        return self

    @field_validator("split")
    @classmethod
    def _sums_to_one(cls, split: tuple[float, ...]) -> tuple[float, ...]:
        if abs(sum(split) - 1) > 1e-6:
            raise ValueError(f"the three shares must sum to 1, not {sum(split):g}")
        return split


def number_of_bytes(size: int | float | str) -> int:
    """``200GB`` as bytes: a number, alone or with kB, MB, GB or TB (powers of 1000).

    Raises:
        ValueError: anything else, or less than a byte.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", str(size), re.IGNORECASE)
    count = float(match[1]) * 1000 ** " kmgt".index(match[2].lower() or " ") if match else 0
    if not 1 <= count < 2**63:
        raise ValueError("write a number of bytes such as 500MB or 200GB")
    return round(count)


def named_weights(value: Any) -> Any:
    """Weights by name from ``NAME=FILE,FILE`` or a list of these; other values as they are.

    A file without a name takes its stem.

    Raises:
        StudyError: two files of one name.
    """
    if isinstance(value, dict):
        return {k: str(v) if isinstance(v, Path) else v for k, v in value.items()}
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return value
    named: dict[str, str] = {}
    for item in filter(None, (str(item).strip() for item in items)):
        name, equals, file = item.partition("=")
        if not equals or "/" in name:  # a path may hold an equals sign
            name, file = Path(item).stem, item
        if name in named:
            raise StudyError(f"the name '{name}' is there twice; write OTHERNAME=FILE")
        named[name] = str(Path(file.strip()).expanduser())
    return named


class EncoderSettings(Frozen):
    """The backbone that every arm shares, and its start."""

    backbone: str = "resnet18"
    """A timm or torchvision name."""
    image_size: Annotated[int, Field(ge=16, le=1024)] = 128
    """Side of the images in pixels."""
    stem: Literal["standard", "small"] = "standard"
    """`small` keeps a ResNet's first resolution: for images of 32 px or so."""
    weights: str = "random"
    """``random``, ``pretrained`` (fetched), or a local .safetensors, .pth or .pt file."""
    further_weights: dict[str, str] = {}
    """Weights to compare beside training from nothing, by name: local files, or ``pretrained``.
    Frozen, fine-tuned, and continued by every method; all other arms stay as they are."""

    @field_validator("further_weights", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return named_weights(value)

    @model_validator(mode="after")
    def _from_nothing(self) -> EncoderSettings:
        """What further weights are compared with starts from nothing."""
        if self.further_weights and self.weights != "random":
            raise ValueError(
                "further_weights are compared with training from nothing, so leave encoder.weights "
                "'random', or give these weights as further_weights too"
            )
        return self


class Pretrain(Frozen):
    """How long and in what batches every self-supervised method trains."""

    epochs: Annotated[int, Field(ge=1)] = 200
    batch_size: Annotated[int, Field(ge=2)] = 128
    recipe: Literal["small", "paper"] = "small"
    """Whose hyper-parameters: the published small-image settings, or the papers'."""
    drop_last: bool = True
    """Leave out an epoch's ragged last batch, as the papers do (a last batch of 1 always is)."""
    check_epochs: Annotated[float, Field(gt=0)] = 1.0
    """Collapse is looked for every so many epochs."""
    on_collapse: Literal["stop", "warn"] = "stop"
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 2.0
    """Between two checkpoints, besides those at ends of epochs (at most every 30 s); a training
    killed goes on from the last one."""


Augmentation = Literal["none", "light", "strong", "mixup"]


class Finetune(Frozen):
    """End-to-end training on labels: the supervised arms and every fine-tuned one, alike."""

    epochs: Annotated[int, Field(ge=1)] = 100
    """The base length, at which learning rates are looked for; the best is then trained longer."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    lrs: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.003, 0.01, 0.03, 0.1, 0.3)
    """Tried one after the other (per 256 images), each with each weight decay; the best on
    validation is kept."""
    weight_decays: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (1e-4, 1e-3)
    widen: Annotated[int, Field(ge=0, le=10)] = 2
    """While the best learning rate is the largest or the smallest one tried, the next beyond it is
    tried too: at most so many."""
    max_lengthening: Annotated[int, Field(ge=1)] = 8
    """The best trial is trained anew with twice the epochs, again and again while that pays, up to
    so many times the base length; an arm that still improves there gets no verdict."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.005
    """Twice the epochs pay where they raise the balanced accuracy on validation by more than this
    share, or lower the training loss by more than a tenth of what guessing by class shares
    costs."""
    patience: Annotated[int, Field(ge=1)] = 2
    """So many doublings in a row must not pay before an arm has converged."""
    augmentations: Annotated[tuple[Augmentation, ...], Field(min_length=1)] = (
        "light",
        "strong",
        "mixup",
    )
    """The first is used while rates and lengths are looked for; then the others are tried with the
    best of them. `light` crops and flips, `strong` crops more and changes colours as pretraining
    does, `mixup` is light with pairs of images blended, `none` is the evaluation transform."""
    min_steps: Annotated[int, Field(ge=1)] = 200
    """Small label budgets repeat their images so that a trial has at least so many steps."""

    @field_validator("lrs", "weight_decays", "augmentations")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("needs each value only once")
        return values


class Classify(Frozen):
    """How frozen and fine-tuned encoders become classifiers."""

    protocols: tuple[Literal["linear", "knn", "finetune"], ...] = ("linear", "knn", "finetune")
    knn_k: Annotated[int, Field(ge=1)] = 20
    """Neighbours that vote; all of them where there are fewer."""
    knn_temperature: Positive = 0.07
    """T of a vote's weight exp(cosine/T)."""
    finetune: Finetune = Finetune()
    compute_matched: bool = True
    """Add a supervised arm that sees at least as many images as pretraining did. Candidates are
    compared with the better of the two supervised arms on validation."""


def _each_name(value: Any) -> Any:
    """Text with commas as a list of names, and each name once."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    return list(dict.fromkeys(value)) if isinstance(value, list | tuple) else value


class Explain(Frozen):
    """Where the networks look: on how many test images, by which attributions, with what masks."""

    images: Annotated[int, Field(ge=0)] = 96
    """A stratified sample of the test images; 0 explains nothing."""
    attributions: tuple[str, ...] = ("saliency", "integrated_gradients")
    """Which attributions; ``headstart explain --help`` lists them."""
    faithfulness_images: Annotated[int, Field(ge=0)] = 24
    """On how many of the images the most important parts are taken away and put back; 0: not."""
    masks: Path | None = None
    """Where the object is: a folder of PNG masks, a COCO file (.json) or boxes (.csv)."""
    background_images: Annotated[int, Field(ge=0)] = 1000
    """At most so many masked test images are put on other backgrounds; 0: none."""
    replicates: Annotated[int, Field(ge=100)] = 2000
    """Of the bootstrap over images."""
    pictures: Annotated[int, Field(ge=0)] = 6
    """How many of the images are drawn for people."""

    @field_validator("attributions", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """Accept ``saliency,occlusion`` for a list of the two, and each name once."""
        return _each_name(value)


class Compare(Frozen):
    """The smallest difference that matters, and how carefully it is looked for."""

    margin: Share = 0.02
    """The smallest difference that matters, as a share: 0.02 is two points."""
    replicates: Annotated[int, Field(ge=100)] = 10_000
    """Of the bootstrap over seeds and images."""


class EngineSettings(Frozen):
    """Where and in what numbers it runs; only ``precision`` changes what is computed."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Processes that pretrain one encoder together, each with a GPU of its own or a share of the
    cores; the result is that of one process. Under ``torchrun``, as many as it starts."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Of training; auto takes bf16 where the processor computes in it. Judging is always 32."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads; by default as many as the cores that this process may use."""
    compile: bool = False
    """Whether to use torch.compile."""
    activation_checkpointing: bool = False
    """Whether training keeps only the inputs of the encoder's blocks and computes the rest again in
    the backward pass: less memory, more time, the same result."""
    executor: str = "serial"
    """Where the encoders of a study are trained and judged: ``serial``, one after the other here,
    ``processes``, several at once in processes of their own on this machine, or ``ray``, on a Ray
    cluster: the one that the environment variable RAY_ADDRESS names, or one started here."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Processes at once, or cores of a Ray cluster started here; by default one a core. Processes
    share the cores unless ``threads`` is set."""
    track: tuple[str, ...] = ("tensorboard",)
    """Who is told of settings, curves, scores and verdicts: ``tensorboard`` (files in the run's
    folder), ``mlflow``, ``wandb``; none for nobody. See docs/tracking.md."""

    @field_validator("track", mode="before")
    @classmethod
    def _trackers(cls, value: Any) -> Any:
        """Accept ``mlflow,tensorboard`` for a list of the two, and ``none`` for an empty one."""
        return [] if value in (None, "none", ("none",), ["none"]) else _each_name(value)


class Study(Frozen):
    """The whole of a study, as ``study.yaml`` spells it."""

    data: Data = Data()
    encoder: EncoderSettings = EncoderSettings()
    methods: dict[str, dict[str, Any]] = {"moco": {}, "simclr": {}, "simsiam": {}, "byol": {}}
    """Methods by name, each with what it changes of its recipe."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    """A seed changes everything random; five or more for a firm verdict."""
    label_fractions: tuple[Share, ...] = (1.0,)
    """Shares of the labels to learn from; smaller budgets are part of larger ones."""
    label_draws: Annotated[int, Field(ge=1)] = 1
    """Draws of each smaller share of the labels, a seed. With one, each seed has its own draw, and
    the luck of both is in the interval together; with two or more it is also told apart."""
    pretrain: Pretrain = Pretrain()
    classify: Classify = Classify()
    explain: Explain = Explain()
    compare: Compare = Compare()
    engine: EngineSettings = EngineSettings()

    @property
    def cached_side(self) -> int:
        """Side of a cached image in pixels."""
        return round(self.encoder.image_size * self.data.cache_factor)

    @field_validator("methods", mode="before")
    @classmethod
    def _by_name(cls, methods: Any) -> Any:
        """Accept ``[moco, simclr]`` and ``moco,simclr`` for ``{moco: {}, simclr: {}}``."""
        if isinstance(methods, str):
            methods = [m.strip() for m in methods.split(",") if m.strip()]
        if isinstance(methods, list | tuple):
            return {str(m): {} for m in methods}
        return {k: v or {} for k, v in methods.items()} if isinstance(methods, dict) else methods

    @field_validator("seeds", "label_fractions")
    @classmethod
    def _distinct(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError("needs at least one value, and each only once")
        return tuple(sorted(values))


# --- presets -----------------------------------------------------------------------------------


def quick() -> dict[str, Any]:
    """A first look: ResNet-18 at 64 px, 10 epochs, one learning rate for end-to-end training.

    Costs 2 to 4 minutes a method for 1,500 images on two CPU cores (118 views/s and core were
    measured with bf16 in hardware). Too short for a verdict about a method; long enough to see
    that everything works on your images.
    """
    return {
        "encoder": {"backbone": "resnet18", "image_size": 64},
        "pretrain": {"epochs": 10, "batch_size": 64},
        "classify": {"compute_matched": False, "finetune": dict(_ONE_RATE)},
        "explain": {"images": 18, "pictures": 6, "faithfulness_images": 9},
    }


def demo() -> dict[str, Any]:
    """What ``headstart demo`` runs: SimCLR and SimSiam, a ResNet of 0.4 million weights at 32 px.

    Many images and few labels: 4,000 generated photos to pretrain on for 60 epochs, six labels a
    class to train on and two to choose with. Every arm that is trained end to end is trained until
    longer training helps no more, which takes more time than pretraining does. The views turn
    colours far and crop little: colour tells nothing of a bag's class, its outline does. SimCLR's
    learning rate is that of a short run; SimSiam has its published settings for small images, which
    are meant for many more epochs, and narrower heads.

    Costs 1,120 s of processor time in two processes: 20 minutes were measured on two CPU cores that
    were busy with other work.
    """
    view = {
        "crop": [0.4, 1.0],
        "brightness": 0.6,
        "contrast": 0.6,
        "saturation": 0.6,
        "hue": 0.3,
        "gray_p": 0.4,
        "blur_p": 0.0,
    }
    views = {"view1": view, "view2": view}
    return {
        "encoder": {"backbone": "test_resnet", "image_size": 32},
        "methods": {
            "simclr": {"optim": {"lr": 1.0, "warmup_epochs": 2}, "temperature": 0.2, **views},
            "simsiam": {"dim": 384, "bottleneck": 96, **views},
        },
        "pretrain": {"epochs": 60, "batch_size": 64, "check_epochs": 5},
        "classify": {
            "compute_matched": False,
            "finetune": {
                "epochs": 12,
                "batch_size": 32,
                "lrs": [0.1, 0.3],
                "weight_decays": [1e-3],
                "min_steps": 150,
                "augmentations": ["strong"],
                "max_lengthening": 64,
            },
        },
        "engine": {"executor": "processes", "threads": 1},
        "explain": {
            "images": 18,
            "pictures": 6,
            "faithfulness_images": 6,
            "background_images": 225,
        },
    }


def standard() -> dict[str, Any]:
    """The default: three seeds, ResNet-18 at 128 px, 200 epochs; ten trials of fine-tuning and
    more per arm.

    Three seeds, so that the answer speaks of methods and not of one set of weights each; every
    seed pretrains anew. The compute-matched arm alone has ten trials that see as many images as a
    method's pretraining, unless they stop early; ``--no-compute-matched`` leaves it out.
    Costs 4 million views at 128 px a method and seed for 10,000 images: a task for a GPU. Two CPU
    cores, at 68 views a second and core (measured, bf16 in hardware), take about eight hours a
    method and seed: a day a method. ``--seeds 0`` asks for one seed.
    """
    return {"seeds": [0, 1, 2]}


def paper() -> dict[str, Any]:
    """The reference study as it is stated: ResNet-50, 256 px, batch 32, 1,500 epochs, 150 epochs
    for the classifier without augmentation.

    Costs 98 million views of ResNet-50 at 256 px a method for its 32,642 images: many days of a
    large GPU. With batches of 32 SimCLR has 62 negatives and BatchNorm sees 32 images: kept because
    the study did so, not because it is wise.
    """
    return {
        "encoder": {"backbone": "resnet50", "image_size": 256},
        "pretrain": {"epochs": 1500, "batch_size": 32, "recipe": "paper"},
        "classify": {"finetune": {"epochs": 150, "batch_size": 32, "augmentations": ["none"]}},
    }


_ONE_RATE: dict[str, Any] = {
    "epochs": 12,
    "lrs": [0.1],
    "weight_decays": [1e-4],
    "augmentations": ["light"],
    "min_steps": 80,
}

PRESETS: dict[str, Callable[[], dict[str, Any]]] = {
    "quick": quick,
    "demo": demo,
    "standard": standard,
    "paper": paper,
}


# --- errors and tables -------------------------------------------------------------------------


def explain_validation(
    error: ValidationError, model: type[BaseModel], also: tuple[str, ...] = ()
) -> str:
    """The first fault of a pydantic error as one line: key, fault, and the nearest known key.

    ``also`` are keys that are known beside the fields of ``model``.
    """
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]]
    where = ".".join(loc)
    if first["type"] == "extra_forbidden":
        known = [*_fields_at(model, loc[:-1]), *(also if len(loc) == 1 else ())]
        near = get_close_matches(loc[-1], known, n=1)
        return f"{where}: unknown setting" + (f"; did you mean '{near[0]}'?" if near else "")
    got = (
        f", not {first['input']!r}" if isinstance(first["input"], str | int | float | bool) else ""
    )
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}{got}"


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def settings_table(model: type[BaseModel] = Study, prefix: str = "") -> list[tuple[str, str, str]]:
    """Every setting as (dotted name, default, what it means), in the order of the study file."""
    rows = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += settings_table(kind, f"{prefix}{name}.")
            continue
        default = field.get_default(call_default_factory=True)
        meaning = " ".join((field.description or "").replace("``", "`").split())
        rows.append((f"{prefix}{name}", plain_setting(default), meaning))
    return rows


def plain_setting(value: Any) -> str:
    """A value as a study file would spell it."""
    if isinstance(value, dict):
        return "[" + ", ".join(value) + "]"
    if isinstance(value, tuple):
        return "[" + ", ".join(plain_setting(part) for part in value) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return {"None": "none", "True": "true", "False": "false"}.get(str(value), str(value))
