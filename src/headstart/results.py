"""What ``results.json`` holds, as types: one model a block, every number with its unit and range.

``reporting/schema.json`` is generated from these models: ``python -m headstart.results``.
Shares lie in [0, 1] and differences are shares too (0.01 is one point); None stands where there is
no number. Arms are spelled ``method/protocol`` in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema

from headstart.arms import PROTOCOLS, Arm
from headstart.config import StudyError, explain_validation
from headstart.stats.verdict import Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

SCHEMA: Literal[1] = 1

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Signed = Annotated[float, Field(ge=-1, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Line = Annotated[str, Field(pattern=r"^[^\r\n]*$")]
Name = Annotated[str, Field(min_length=1)]
Method = Annotated[str, Field(pattern=r"^[^/]+$")]


def _inside(path: str) -> str:
    if path[:1] in ("/", "\\") or ".." in path.split("/") or len(path.splitlines()) != 1:
        raise ValueError("must be a path below the run's folder")
    return path


RunPath = Annotated[
    str,
    AfterValidator(_inside),
    WithJsonSchema({"type": "string", "pattern": r"^(?![/\\])(?!.*(^|/)\.\.(/|$))[^\r\n]+$"}),
]
"""A path below the run's folder."""
Time = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}")]
Seconds = Annotated[float, Field(ge=0)]
Status = Literal["ok", "collapsed", "failed", "unfinished"]
"""``unfinished`` only on the page of a run that has not come to its end."""
Metric = Literal["accuracy", "balanced_accuracy", "macro_f1", "kappa"]
Likeness = Literal["same", "different", "unclear", "not_reproducible", "no_ceiling", "no_maps"]
FocusVerdict = Literal["more", "less", "no more", "not measured"]
Ends = Annotated[tuple[Signed | None, Signed | None], Field()]


def _arm(value: Any) -> Any:
    return Arm.parse(value) if isinstance(value, str) else value


ArmName = Annotated[
    Arm,
    BeforeValidator(_arm),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[^/]+/[^/]+$"}),
]


class Model(BaseModel):
    """A block of the results: no unknown keys, and values that never change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
        serialize_by_alias=True,
    )


class Interval(Model):
    """A value with its 95 % limits."""

    value: float | None
    low: float | None
    high: float | None


# --- the images --------------------------------------------------------------------------------


class Counts(Model):
    """Images by the part they play."""

    pool: Count
    """Pretrained on, without labels."""
    pool_from_train: Count
    """Of these, labelled training images."""
    train: Count
    validation: Count
    test: Count


class ClassCounts(Model):
    """One class, and its images by part."""

    name: Name
    train: Count
    validation: Count
    test: Count


class NearDuplicates(Model):
    """Nearly identical images: removed, to be looked at, groups kept together, unlike labels."""

    removed: Count
    review: Count
    groups: Count
    different_labels: Count


class CrossingGroups(Model):
    """The user's groups with images in more than one part, and their images by part."""

    groups: Count
    pool: Count
    train: Count
    validation: Count
    test: Count


class Data(Model):
    """The images of the study."""

    unlabeled: str | None
    labeled: str
    counts: Counts
    classes: tuple[ClassCounts, ...]
    split: Literal["given", "made", "completed"]
    """Whether the folders said which images are for training, validation and test."""
    removed: Mapping[str, Count]
    """Images left out, by reason."""
    near_duplicates: NearDuplicates | None = None
    crossing_groups: CrossingGroups | None = None
    quarantine: RunPath | None
    detectable_difference: Share | None
    """The smallest difference in balanced accuracy that the test set is likely to show."""


# --- arms --------------------------------------------------------------------------------------


class Metrics(Model):
    """Scores on the test images."""

    accuracy: Share | None
    balanced_accuracy: Share | None
    macro_f1: Share | None
    kappa: Signed | None


class MetricEnds(Model):
    """95 % intervals of the scores, from the test images alone."""

    accuracy: Ends | None = None
    balanced_accuracy: Ends | None = None
    macro_f1: Ends | None = None
    kappa: Ends | None = None


class ClassScores(Model):
    """Scores of one class."""

    name: str = Field(alias="class")
    precision: Share | None
    recall: Share | None
    recall_interval: Ends | None
    """Wilson's, 95 %."""
    f1: Share | None
    support: Count
    """Test images of the class."""


class Chance(Model):
    """Whether balanced accuracy lies above chance."""

    p: Share | None
    beats_chance: bool


class Scores(Model):
    """All that one classifier's predictions on the test images say by themselves."""

    metrics: Metrics
    intervals: MetricEnds
    confusion_matrix: tuple[tuple[Count, ...], ...]
    """Test images; rows are true classes, columns predicted ones."""
    per_class: tuple[ClassScores, ...]
    chance: Chance


class CalibrationError(Interval):
    """Expected calibration error, a share, over 15 bins of equal mass, with its 95 % interval."""

    by_chance: Share
    """What perfectly calibrated probabilities would show on as many images, on average."""


class Covered(Model):
    """Accuracy where only the most confident answers are given."""

    coverage: Fraction
    """Share of the test images that are answered."""
    accuracy: Interval


class Confidence(Model):
    """How far a classifier's probabilities can be trusted, on the test images."""

    validation_images: Count
    """Images that the temperature was fitted on."""
    temperature: Annotated[float, Field(gt=0)]
    """What the logits are divided by for the least cross-entropy on them; above 1 too confident."""
    before: CalibrationError
    after: CalibrationError
    """With the temperature."""
    accuracy: tuple[Covered, ...]
    """Before the temperature."""


class Compute(Model):
    """Images seen and steps taken for one arm, all trials of its tuning together."""

    pretrain_images: Count | None
    train_images: Count | None
    train_steps: Count | None


class ArmResult(Model):
    """One classifier: an arm with one seed, one share of the labels and one draw of these."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"status": {"const": "ok"}}},
            "then": {"properties": {"metrics": {"type": "object"}}},
            "else": {"properties": {"reason": {"type": "string"}}},
        }
    )

    method: Method
    protocol: Annotated[str, Field(json_schema_extra={"enum": list(PROTOCOLS)})]
    seed: Count
    label_fraction: Fraction
    labels: Count
    """Labelled images used, for training and for validation."""
    status: Status
    reason: Line | None
    """Why there is no score."""
    metrics: Metrics | None
    intervals: MetricEnds | None
    confusion_matrix: tuple[tuple[Count, ...], ...] | None
    """Test images; rows are true classes, columns predicted ones."""
    per_class: tuple[ClassScores, ...] | None
    chance: Chance | None
    chosen: Mapping[str, Any] | None
    """The settings that did best on validation."""
    compute: Compute | None = None
    confidence: Confidence | None = None
    """Not in results of older versions."""
    label_draw: Count = 0
    """Which of the seed's draws of so many labels."""

    @property
    def arm(self) -> Arm:
        """Whose encoder it is, and how it became a classifier."""
        return Arm(self.method, self.protocol)


# --- pretraining -------------------------------------------------------------------------------


class Moment(Model):
    """One reading of a pretraining; None where it was not measured."""

    step: Count
    epoch: Annotated[float, Field(ge=0)]
    loss: float | None = None
    """Mean since the reading before."""
    lr: float | None = None
    gradient_norm: float | None = None
    std_ratio: float | None = None
    """√d times the standard deviation of the normalised outputs; 0 when collapsed."""
    mean_cosine: float | None = None
    rankme: float | None = None
    effective_rank: float | None = None
    knn: Share | None = None
    """Leave-one-out balanced accuracy of k-NN on labelled training images."""


class Probe(Model):
    """What the spread of the projections was measured on."""

    images: Count
    dimension: Count
    """Of the projections: no rank can exceed it, nor the images less one."""
    classes: Count


class Pretraining(Model):
    """One method's pretraining with one seed."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"status": {"const": "ok"}}},
            "else": {"properties": {"reason": {"type": "string"}}},
        }
    )

    method: Method
    seed: Count
    status: Status
    reason: Line | None
    warnings: tuple[Line, ...]
    epochs: Count
    steps: Count
    images_seen: Count
    start: str | None
    """SHA-256 of the weights it began with."""
    loss_floor: float | None
    """The loss that learning nothing gives."""
    knn_random: Share | None
    """What k-NN scored before the first step."""
    history: tuple[Moment, ...]
    probe: Probe | None = None
    """Not in results of older versions."""


# --- comparisons -------------------------------------------------------------------------------


class Gate(Model):
    """One gate's answer about the whole study (None), a method, or an arm."""

    gate: Literal["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10"]
    name: Line
    arm: str | None
    result: Literal["PASS", "FAIL", "NOT RUN"]
    reason: Line
    fraction: Fraction | None = None
    """The label fraction it speaks of; None for all."""


class LostArm(Model):
    """An arm without a classifier to compare at one label fraction, and why."""

    arm: ArmName
    fraction: Fraction
    seed: Count
    status: Status
    reason: Line


class Basis(Model):
    """What a verdict rests on beside the difference itself; not in results of older versions."""

    low90: float | None = None
    """Lower end of the 90 % interval, which decides whether a difference is too small to matter."""
    high90: float | None = None
    margin: Share | None = None
    """The smallest difference that matters."""
    images_needed: Count | None = None
    """Test images that would show a difference of ``margin``; None if unknown or out of reach."""
    seeds_needed: Count | None = None
    """Seeds that would show it."""
    reasons: tuple[Line, ...] = ()
    """Why the comparison is not valid."""
    scope: Line | None = None
    """What the answer holds for."""


class Spread(Model):
    """Standard deviations of a difference from one training to another, as shares."""

    seeds: float | None
    """From seed to seed: of the start, order and augmentation, without the label draws' part where
    there were several draws a seed; else of all that is random. None with one seed."""
    label_draws: float | None
    """From one draw of the labels to another within a seed; None with one draw a seed."""


class Comparison(Basis):
    """How much better ``arm_a`` is than ``arm_b`` at one label fraction."""

    arm_a: ArmName
    arm_b: ArmName
    metric: Metric
    fraction: Fraction
    difference: float | None
    low: float | None
    high: float | None
    p: Share | None
    """Two-sided."""
    p_holm: Share | None
    """After Holm's correction within its family."""
    seeds: Count
    label_draws: Count = 1
    """Draws of the labels a seed."""
    spread: Spread | None = None
    n: Count
    """Test images."""
    verdict: Verdict
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""
    lost: LostArm | None = None
    """The arm without a classifier, where there is nothing to compare."""
    discordant: tuple[Count, Count] | None
    """Images that only ``arm_a`` and only ``arm_b`` answered correctly; with a single seed."""
    p_mcnemar: Share | None
    chosen_from: tuple[ArmName, ...] = ()
    """The supervised arms of which ``arm_b`` was the best on validation; none without a choice."""


class AreaDifference(Basis):
    """The difference between two label curves in their mean height over ln(labels), a share."""

    arm_a: ArmName
    arm_b: ArmName
    metric: Metric
    fractions: Annotated[tuple[Fraction, ...], Field(min_length=2)]
    difference: float
    low: float
    high: float
    p: Share
    p_holm: Share
    seeds: Count
    label_draws: Count = 1
    n: Count
    verdict: Verdict
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""


class LabelSaving(Model):
    """How many labels ``arm_b`` needs to do as well as ``arm_a`` does with ``labels``."""

    arm_a: ArmName
    arm_b: ArmName
    fraction: Fraction
    labels: Count
    needed: float | None
    low: float | None
    high: float | None
    censored: Literal["below", "above"] | None
    """On which side of what was measured the count lies."""
    quotable: bool
    """Whether there were enough larger counts to say the saving as a number."""
    low_censored: Literal["below", "above"] | None = None
    """The same of the lower limit."""
    high_censored: Literal["below", "above"] | None = None
    smallest: Count | None = None
    """The fewest labels that were measured."""
    largest: Count | None = None
    seeds: Count
    n: Count
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""


class Comparisons(Model):
    """Everything that was compared, with the gates where they were asked."""

    gates: tuple[Gate, ...] = ()
    comparisons: tuple[Comparison, ...]
    """Candidates against the baseline."""
    method_pairs: tuple[Comparison, ...]
    """Candidates against each other."""
    area_differences: tuple[AreaDifference, ...]
    label_saving: tuple[LabelSaving, ...]

    def to_json(self) -> dict[str, Any]:
        """The plain values of ``comparison.json``."""
        return self.model_dump(mode="json", exclude_unset=True)


# --- where the networks look -------------------------------------------------------------------


class Measures(Model):
    """How alike maps are: means over images."""

    rmse: float | None
    ssim: Signed | None
    spearman: Signed | None
    top_iou: Share | None
    pearson: Signed | None


class Nulls(Model):
    """What stands beside a pair of arms: two untrained networks, shuffled images, edges, seeds."""

    floor: Measures
    shuffled: Measures
    edges: Measures
    ceiling: Measures | None


class Calibrated(Model):
    """Rank correlation on the scale from the strongest null (0) to two seeds of one arm (1)."""

    value: float | None
    low: float | None
    high: float | None
    images: Count
    strongest: Literal["untrained", "shuffled"] = Field(alias="null")


class Similarity(Measures):
    """Two arms' maps by one attribution; over all images under the true class, with its meaning."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"target": {"const": "true class"}, "answers": {"const": "all"}}},
            "then": {"required": ["nulls", "calibrated", "verdict", "sentence"]},
        }
    )

    arm_a: ArmName
    arm_b: ArmName
    seeds: Annotated[tuple[Count, ...], Field(min_length=1, max_length=2)]
    attribution: Name
    target: Literal["true class", "own prediction"]
    answers: Literal["all", "both right", "one right", "both wrong"]
    images: Count
    left_out: Count
    nulls: Nulls | None = None
    calibrated: Calibrated | None = None
    verdict: Likeness | None = None
    sentence: Line | None = None
    """Written by ``headstart.reporting.sentences``."""


class ExplainedNetwork(Model):
    """One network that was explained."""

    arm: ArmName
    seed: Count
    right: Count
    """Images of the sample that it names correctly."""
    without_map: Mapping[str, Count]
    """Images without a map, by attribution."""
    reasons: tuple[Line, ...]


class Sanity(Model):
    """Whether an attribution tells a trained network from an untrained one."""

    attribution: Name
    difference: float | None
    low: float | None
    high: float | None
    images: Count
    passed: bool | None
    complexity: Interval
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""


class Faithfulness(Model):
    """Whether maps point at what moves the network's answer: gaps to a random order."""

    arm: ArmName
    attribution: Name
    seed: Count
    images: Count
    deletion: Interval
    insertion: Interval
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""


class MaskInfo(Model):
    """The masks of the objects."""

    source: str
    test_images: Count
    images: Count
    approximate: bool
    """Whether any is made of boxes, not outlines."""
    area: Share | None
    warnings: tuple[Line, ...]
    overlays: tuple[RunPath, ...]


class Focus(Model):
    """How much of the maps falls on the object."""

    arm: ArmName
    attribution: Name
    answers: Literal["all", "right", "wrong"]
    images: Count
    rma: Interval
    rra: Interval
    pointing: Interval
    auc: Interval
    lift: Interval
    background: Interval
    area: Interval
    centre_lift: float | None
    untrained_lift: float | None
    against_untrained: Interval | None
    compared: Count | None = None
    """Images that have a map of this network and of the untrained one."""
    compared_groups: Count | None = None
    """Groups that these images form; as many as images where each stands alone."""
    verdict: FocusVerdict | None
    sentence: Line | None = None
    """Written by ``headstart.reporting.sentences``."""


class CompositeAccuracy(Model):
    """Accuracy on pictures whose background was exchanged."""

    original: Interval
    only_fg: Interval
    only_bg: Interval
    mixed_same: Interval
    mixed_rand: Interval


class WorstGroup(Model):
    """The user's group in which an arm does worst."""

    group: Count
    images: Count
    accuracy: Share | None
    expected: Share | None
    p: Share | None
    gap: float | None


class Background(Model):
    """How far an arm's answer depends on what is behind the object."""

    arm: ArmName
    seed: Count
    images: Count
    accuracy: CompositeAccuracy
    gap: Interval
    paste_cost: Interval
    skill: Interval
    skill_p: Share | None
    follows: Share | None
    expected: Share | None
    follows_more: Interval
    worst_group: WorstGroup | None
    warnings: tuple[Line, ...]
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""


class BackgroundDifference(Interval):
    """Two arms' reliance on the background, compared."""

    arm_a: ArmName
    arm_b: ArmName
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""


class Centre(Model):
    """The proxy without masks: how far the answer falls when middle or border is blurred."""

    arm: ArmName
    seed: Count
    images: Count
    centre: Interval
    border: Interval
    difference: Interval
    sentence: Line = ""
    """Written by ``headstart.reporting.sentences``."""


class NotMeasured(Model):
    """Why something about the object or the background was not measured."""

    reason: Literal[
        "no masks", "turned off", "few masked images", "no pair of images", "few backgrounds"
    ]
    images: Count = 0
    """Images that could be used."""
    needed: Count = 0


class Explanations(Model):
    """Where the networks look."""

    images: Count
    ids: tuple[str, ...]
    seeds: tuple[Count, ...]
    networks: tuple[ExplainedNetwork, ...]
    sanity: tuple[Sanity, ...]
    faithfulness: tuple[Faithfulness, ...]
    masks: MaskInfo | None
    focus: tuple[Focus, ...]
    background: tuple[Background, ...]
    background_differences: tuple[BackgroundDifference, ...]
    centre: tuple[Centre, ...]
    not_measured: tuple[NotMeasured, ...] = ()
    notes: tuple[Line, ...] = ()
    """What was not measured, in sentences."""


class Drawn(Model):
    """One image's maps under one network."""

    arm: ArmName
    seed: Count
    predicted: str
    probability: Share | None
    """Of the true class."""
    maps: Mapping[str, RunPath]
    scale: Mapping[str, Annotated[float, Field(ge=0)]]


class ExplainedImage(Model):
    """An image of the gallery."""

    id: str | int
    true: str
    chosen: Literal["at random", "maps most alike", "maps least alike"]
    photo: RunPath
    arms: tuple[Drawn, ...]


# --- pictures of test images -------------------------------------------------------------------


class ShownImage(Model):
    """A test image with a small picture of it."""

    id: str
    true: str
    photo: RunPath


class Confusion(Model):
    """A class of which an arm, with the most labels, gave many test images another name."""

    arm: ArmName
    true: str
    predicted: str
    count: Count
    """Answers with that name, those of all seeds and draws of the labels added."""
    of: Count
    """Answers on images of the true class."""
    shown: tuple[Count, ...]
    """Some of these images, by place in ``images``: most often so named first, then the surest."""


class FeatureMap(Model):
    """Where a frozen encoder puts test images: its features, drawn flat."""

    method: Method
    """Whose encoder it is, before any labels."""
    seed: Count
    shown: tuple[Count, ...]
    """The images, by place in ``images``."""
    projection: Literal["pca", "umap"]
    """``pca``: along the first two principal components of these images' features."""
    points: tuple[tuple[Signed, Signed], ...]
    """One an image; the largest coordinate of all is 1 or −1."""
    variance: tuple[Share, Share] | None
    """Share of these features' variance along each of the two; ``None`` for UMAP."""


class ShownImages(Model):
    """Test images that the page shows beside its numbers."""

    images: tuple[ShownImage, ...]
    confusions: tuple[Confusion, ...]
    maps: tuple[FeatureMap, ...]


# --- provenance --------------------------------------------------------------------------------


class Times(Model):
    """How something was asked for, and when."""

    command: str
    started: Time
    finished: Time
    total_seconds: Seconds


class Provenance(Model):
    """What made these results, and how long it took."""

    headstart: str
    versions: Mapping[str, str | None]
    command: str
    started: Time
    finished: Time | None = None
    total_seconds: Seconds | None = None
    explained_anew: Times | None = None
    seconds: Mapping[str, Seconds]
    """Wall-clock seconds by artifact, as ``verb/label-key``."""
    further_weights: Mapping[str, str] = {}
    """What the further weights hold, by name: the SHA-256 of the file, or ``pretrained``."""
    device: str
    precision: str | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    machine: str


class Results(Model):
    """Everything that one run measured."""

    model_config = ConfigDict(title="headstart results")

    version: Literal[1] = Field(alias="schema")
    """Of this layout."""
    title: str
    data: Data
    study: Mapping[str, Any]
    """The whole configuration, read back."""
    arms: tuple[ArmResult, ...]
    pretraining: tuple[Pretraining, ...]
    gates: tuple[Gate, ...] = ()
    comparisons: tuple[Comparison, ...]
    method_pairs: tuple[Comparison, ...] = ()
    area_differences: tuple[AreaDifference, ...] = ()
    label_saving: tuple[LabelSaving, ...] = ()
    attribution_similarity: tuple[Similarity, ...]
    explained: tuple[ExplainedImage, ...]
    explanations: Explanations | None = None
    shown: ShownImages | None = None
    """Not in results of older versions."""
    warnings: tuple[Line, ...]
    provenance: Provenance

    @property
    def unfinished(self) -> bool:
        """Whether some classifiers are still to be made."""
        return any(arm.status == "unfinished" for arm in self.arms)

    @property
    def progress(self) -> str:
        """``3 of 15 classifiers are done``."""
        done = sum(arm.status != "unfinished" for arm in self.arms)
        return f"{done} of {len(self.arms)} classifiers are done"

    def to_json(self) -> dict[str, Any]:
        """The plain values of ``results.json``."""
        return self.model_dump(mode="json", exclude_unset=True)

    def to_frame(self) -> DataFrame:
        """The long table: one row a classifier and metric, as a pandas data frame.

        Columns: method, protocol, role, arm (printed name), seed, label_fraction, label_draw,
        labels, status, metric, value, low, high (shares; NaN where there is no number).

        Raises:
            StudyError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError:
            raise StudyError("to_frame: needs pandas; pip install pandas") from None
        return DataFrame(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for one in self.arms:
            about = {
                "method": one.method,
                "protocol": one.protocol,
                "role": str(one.arm.role),
                "arm": one.arm.label,
                "seed": one.seed,
                "label_fraction": one.label_fraction,
                "label_draw": one.label_draw,
                "labels": one.labels,
                "status": one.status,
            }
            for metric in Metrics.model_fields:
                low, high = getattr(one.intervals, metric, None) or (None, None)
                value = getattr(one.metrics, metric, None)
                yield {**about, "metric": metric, "value": value, "low": low, "high": high}

    def __str__(self) -> str:
        """The answer in sentences: every candidate against supervised training."""
        said = [f"{row.arm_a.label}: {row.sentence}" for row in self.comparisons]
        failed = sum(gate.result == "FAIL" for gate in self.gates)
        gates = [f"{failed} gates fail; see the report."] if failed else []
        return "\n".join([self.title, *(said or ["No arm was compared."]), *gates])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same for a notebook, as a table; every text is escaped."""
        rows = "".join(
            f"<tr><td>{escape(row.arm_a.label)}</td><td>{100 * row.fraction:g} %</td>"
            f"<td>{escape(row.verdict)}</td><td>{escape(row.sentence)}</td></tr>"
            for row in self.comparisons
        )
        head = "<tr><th>arm</th><th>labels</th><th>verdict</th><th>against supervised</th></tr>"
        return f"<h4>{escape(self.title)}</h4><table>{head}{rows}</table>"


def load_results(run: Path | str) -> Results:
    """The results of a finished run: of its folder, or of its ``results.json``.

    Raises:
        StudyError: there is none, or it is not the results of a run, in one line.
    """
    path = Path(run)
    if path.is_dir():
        path /= "results.json"
    try:
        return Results.model_validate_json(path.read_bytes())
    except OSError as error:
        why = error.strerror or error
        raise StudyError(f"{path}: {why}; is this the folder of a finished run?") from None
    except ValidationError as error:
        fault = explain_validation(error, Results)
        raise StudyError(f"{path}: not the results of a run: {fault}") from None


class _Untitled(GenerateJsonSchema):
    """A schema without a title beside every field that only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of ``results.json``."""
    generated = Results.model_json_schema(schema_generator=_Untitled)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **generated}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1, ensure_ascii=False))
