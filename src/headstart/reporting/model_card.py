"""A model card: a ``README.md`` beside weights, as the Hugging Face Hub reads it.

It holds what a reader of the weights needs, and no path of the machine that made them. Names that
come from users (classes, methods, a license) are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from headstart.arms import BASELINES, Arm, Origin, is_pretrained, method_title
from headstart.reporting import tables, words
from headstart.reporting.safe import markdown
from headstart.reporting.sentences.methods import references_of
from headstart.results import ArmResult, Comparison, Pretraining, Results

_CHOSEN = ("lr", "weight_decay", "augmentation", "strength", "epochs", "steps")


@dataclass(frozen=True)
class Source:
    """Where the weights come from.

    ``protocol`` and ``label_fraction`` are those of a classifier. ``artifacts`` names what they
    were stored as in the run, each with a hash of its content; ``further_weights`` is the SHA-256
    of given weights that the method began with.
    """

    network: str
    method: str
    protocol: str | None
    seed: int
    label_fraction: float | None
    backbone: str
    stem: str
    artifacts: Mapping[str, str]
    further_weights: str | None


@dataclass(frozen=True)
class Preprocessing:
    """The run's evaluation transform: pixels in [0, 1], then ``(pixel - mean) / std``.

    ``resize`` is the short side in pixels, ``crop`` the side of the square in the middle;
    ``stored`` is the side of the square that the run squashes a whole picture to before that.
    """

    stored: int
    resize: int
    crop: int
    interpolation: str
    antialias: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, results: Results) -> Preprocessing:
        """That of the run."""
        from headstart.nn.encoder import MEAN, STD  # brings PyTorch

        size = int(results.study["encoder"]["image_size"])
        side = round(size * results.study["data"]["cache_factor"])
        return cls(side, size, size, "bilinear", True, MEAN, STD)


@dataclass(frozen=True)
class Card:
    """What a card says beside what the results of the run hold."""

    source: Source
    library: str
    """Which reads the weights, as the Hub calls it."""
    usage: str
    """How, in lines of Python."""
    check: str
    """How the files were or are checked, a paragraph."""
    license: str = "unknown"
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries that exported it; none in the run itself."""


def model_card(results: Results, card: Card) -> str:
    """The whole card of a network that the results are about."""
    source = card.source
    parts = (
        [f"# {_title(source)}", *_what(results, source)],
        ["## Use", f"```python\n{card.usage}\n```"],
        ["## Preprocessing", *_preprocessing(Preprocessing.of(results))],
        ["## Classes", *_classes(results, source)],
        ["## Training", *_training(results, source)],
        ["## Test scores", *_scores(results, source)],
        ["## Verdict", *_verdicts(results, source)],
        ["## Check", card.check],
        ["## Made with", *_made_with(results, card)],
        ["## Citation", *_citation(source)],
    )
    paragraphs = [text for part in parts for text in part if text]
    return f"---\n{_front(card)}---\n\n" + "\n\n".join(paragraphs) + "\n"


def _front(card: Card) -> str:
    """The YAML that the Hub reads; every text is quoted where it needs to be."""
    source = card.source
    task = "image-classification" if _is_classifier(source) else "image-feature-extraction"
    method = Origin.parse(source.method).method
    learned = ["self-supervised-learning"] if is_pretrained(source.method) else []
    front = {
        "library_name": card.library,
        "pipeline_tag": task,
        "license": _line(card.license),
        "tags": list(dict.fromkeys([task, *learned, method, source.backbone, "headstart"])),
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=float("inf"))


def _line(text: str) -> str:
    """One line: a line of dashes would end the YAML."""
    return " ".join(text.split())


def _title(source: Source) -> str:
    what = _arm(source).label if source.protocol else f"{method_title(source.method)} encoder"
    return f"{markdown(what)}: {markdown(source.backbone)}"


def _what(results: Results, source: Source) -> Iterator[str]:
    name, backbone = markdown(method_title(source.method)), markdown(source.backbone)
    begun = results.study["encoder"]["weights"]
    if _is_classifier(source):
        share = words.fraction_name(source.label_fraction or 1)
        yield (
            f"An image classifier for {len(results.data.classes)} classes: a {backbone} of the arm "
            f"“{markdown(_arm(source).label)}”, trained with {share}."
        )
    elif is_pretrained(source.method):
        yield f"A {backbone} without a classifier, pretrained with {name} on unlabelled images."
    else:
        yield f"A {backbone} without a classifier: {name}."
    if source.further_weights:
        start = markdown(Origin.parse(source.method).start)
        yield f"It began with the given weights “{start}” ({markdown(source.further_weights)})."
    else:
        known = begun if begun in ("random", "pretrained") else "given"
        yield f"Training began with {known} weights. These are the weights of seed {source.seed}."


def _preprocessing(asked: Preprocessing) -> Iterator[str]:
    yield _table(
        ("step", "value"),
        [
            ("decode", "upright (EXIF), RGB, transparency over white"),
            ("resize", f"short side to {asked.resize} px, {asked.interpolation}, antialiased"),
            ("crop", f"{asked.crop} × {asked.crop} px in the middle"),
            ("scale", "0 … 255 to 0 … 1"),
            ("mean", ", ".join(map(str, asked.mean))),
            ("standard deviation", ", ".join(map(str, asked.std))),
        ],
    )
    yield (
        f"The run first keeps each whole picture as a square of {asked.stored} px "
        "and resizes that. A resize straight from the file gives nearly the same pixels, and not "
        "exactly."
    )


def _classes(results: Results, source: Source) -> Iterator[str]:
    if _is_classifier(source):
        yield "In the order of the logits:"
    else:
        yield "The encoder knows no classes. The labelled images of its run had these:"
    names = (one.name for one in results.data.classes)
    yield _table(("number", "class"), [(str(i), name) for i, name in enumerate(names)])


def _training(results: Results, source: Source) -> Iterator[str]:
    counts = results.data.counts
    pool = [
        ("pretrained on, without labels", words.count(counts.pool)),
        ("of these, labelled training images", words.count(counts.pool_from_train)),
    ]
    labelled = [
        ("labelled, for training", words.count(counts.train)),
        ("labelled, for validation", words.count(counts.validation)),
        ("labelled, for the test", words.count(counts.test)),
    ]
    yield _table(("images", "count"), [*(pool if is_pretrained(source.method) else []), *labelled])
    rows = [r for r in results.pretraining if (r.method, r.seed) == (source.method, source.seed)]
    yield from (_pretrained(results, row) for row in rows)
    judged = [row for row in _rows(results, source) if _is_classifier(source)]
    for row in judged:
        known = row.chosen or {}
        settings = ((name, known[name]) for name in _CHOSEN if name in known)
        chosen = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings)
        yield (
            f"The classifier had {words.plural(row.labels, 'label')}, for training and validation "
            f"together. Chosen on validation: {chosen or 'nothing'}."
        )


def _pretrained(results: Results, row: Pretraining) -> str:
    settings = results.study["pretrain"]
    changed = results.study["methods"].get(Origin.parse(row.method).method) or {}
    own = f", with its own settings {markdown(str(changed))}" if changed else ""
    return (
        f"{markdown(method_title(row.method))}: {row.epochs} epochs of batches of "
        f"{settings['batch_size']}, {words.plural(row.steps, 'step')}, "
        f"{words.count(row.images_seen)} images seen, recipe “{markdown(settings['recipe'])}”{own}."
    )


def _scores(results: Results, source: Source) -> Iterator[str]:
    """The network's own scores, or of all that stands on an encoder, and the baseline's."""
    rows = _rows(results, source)
    compared = {row.label_fraction for row in rows}
    rows += [
        row
        for row in results.arms
        if row.arm in BASELINES
        and row.seed == source.seed
        and row.label_fraction in compared
        and row not in rows
    ]
    if not rows:
        yield "Nothing was judged on test images."
        return
    metric = tables.primary_metric(results)
    head = ("arm", "labels", words.METRICS[metric], "95 % interval", "accuracy")
    yield _table(head, [_score(row, metric) for row in rows])
    yield (
        f"On {words.plural(results.data.counts.test, 'test image')} of its run, seed {source.seed} "
        f"of {words.plural(len(results.study['seeds']), 'seed')}. The intervals are of the test "
        "images alone."
    )


def _score(row: ArmResult, metric: str) -> tuple[str, ...]:
    if row.metrics is None:
        return row.arm.label, words.count(row.labels), words.lost(row.status, row.reason), "", ""
    return (
        row.arm.label,
        words.count(row.labels),
        words.percent(tables.score_of(row, metric)),
        words.bracket(getattr(row.intervals, metric, None)),
        words.percent(row.metrics.accuracy),
    )


def _verdicts(results: Results, source: Source) -> Iterator[str]:
    found = list(_comparisons(results, source))
    if not found:
        yield "The run compared nothing of this network with supervised training."
        return
    yield (
        "What the run says of the arm against supervised training, over all of its seeds:"
        if len(results.study["seeds"]) > 1
        else "What the run says of the arm against supervised training:"
    )
    yield "\n".join(
        f"- {markdown(row.arm_a.label)}, {words.fraction_name(row.fraction)}: "
        f"{markdown(words.sentence(row.sentence))}"
        for row in found
    )


def _comparisons(results: Results, source: Source) -> Iterator[Comparison]:
    for row in tables.against_supervised(results):
        same = row.arm_a.method == source.method
        if source.protocol is not None:
            same = row.arm_a == _arm(source) and row.fraction == source.label_fraction
        if same:
            yield row


def _made_with(results: Results, card: Card) -> Iterator[str]:
    trained = {"headstart": results.provenance.headstart, **results.provenance.versions}
    names = sorted({*trained, *card.versions})
    columns = {"trained with": trained} | (
        {"exported with": card.versions} if card.versions else {}
    )
    rows = [(n, *(made.get(n) or words.NONE for made in columns.values())) for n in names]
    yield _table(("library", *columns), rows)
    held = [f"`{_code(name)}` ({key})" for name, key in card.source.artifacts.items()]
    yield f"Artifacts of the run, each with the hash of its content: {'; '.join(held)}." * bool(
        held
    )


def _code(text: str) -> str:
    """Text between backticks; it cannot end them."""
    return _line(text.replace("`", "'"))


def _citation(source: Source) -> Iterator[str]:
    entries = references_of([Origin.parse(source.method).method, "timm"])
    yield "```bibtex\n" + "\n\n".join(entries).replace("```", "'''") + "\n```"


def _rows(results: Results, source: Source) -> list[ArmResult]:
    """What was judged of the network: its own cell, or all that stands on an encoder."""
    of_seed = [row for row in results.arms if row.seed == source.seed]
    if source.protocol is None:
        return [row for row in of_seed if row.method == source.method]
    return [
        row
        for row in of_seed
        if row.arm == _arm(source)
        and row.label_fraction == source.label_fraction
        and row.label_draw == 0
    ]


def _arm(source: Source) -> Arm:
    return Arm(source.method, source.protocol or "")


def _is_classifier(source: Source) -> bool:
    return source.protocol is not None


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; every cell is escaped."""
    lines = [list(head), *(list(row) for row in rows)]
    shown = ["| " + " | ".join(str(markdown(cell)) for cell in line) + " |" for line in lines]
    return "\n".join([shown[0], "|" + "---|" * len(lines[0]), *shown[1:]])
