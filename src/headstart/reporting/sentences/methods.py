"""The methods section of a paper on a study: what was done, with every setting, and whom to cite.

Citations are of Pandoc's kind, ``[@key]``; ``references`` gives the BibTeX of all that is cited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

from headstart.arms import Origin, Role, method_title
from headstart.attributions import title
from headstart.methods import METHODS
from headstart.reporting import tables, words
from headstart.reporting.safe import latex, markdown
from headstart.results import Results

_OWN = "headstart-"
_REFERENCES = {
    "moco": ("he2020momentum", "chen2020improved"),
    "simclr": ("chen2020simple",),
    "simsiam": ("chen2021exploring",),
    "byol": ("grill2020bootstrap",),
    "vicreg": ("bardes2022vicreg",),
    "barlow_twins": ("zbontar2021barlow",),
    "dino": ("caron2021emerging",),
    "saliency": ("simonyan2014deep",),
    "integrated_gradients": ("sundararajan2017axiomatic",),
    "smoothgrad": ("smilkov2017smoothgrad",),
    "gradient_shap": ("lundberg2017unified",),
    "grad_cam": ("selvaraju2017grad",),
    "occlusion": ("zeiler2014visualizing",),
    "knn": ("wu2018unsupervised",),
    "holm": ("holm1979simple",),
    "temperature": ("guo2017calibration",),
    "torch": ("paszke2019pytorch",),
    "timm": ("wightman2019timm",),
    "captum": ("kokhlikyan2020captum",),
}


def methods(results: Results) -> str:
    """The section as Markdown: some paragraphs, and below them the settings as they were."""
    parts = (_images, _pretraining, _classifiers, _comparison, _maps, _software)
    paragraphs = [text for part in parts if (text := " ".join(part(results)))]
    settings = [f"- {markdown(key)}: {markdown(value)}" for key, value in _flat(results.study)]
    listed = ["## Every setting", "\n".join(settings)] if settings else []
    return "\n\n".join(["# Methods", *paragraphs, *listed]) + "\n"


def references(results: Results) -> list[str]:
    """BibTeX entries, in the order in which they are cited."""
    cited = re.findall(r"@([\w:-]+)", " ".join(re.findall(r"\[@[^\]]*\]", methods(results))))
    known = _entries()
    return [_bibtex(key, known) for key in dict.fromkeys(cited)]


def references_of(names: Iterable[str]) -> list[str]:
    """BibTeX entries of methods, attributions or libraries; those without any are left out."""
    known = _entries()
    keys = dict.fromkeys(key for name in names for key in _keys(name))
    return [_bibtex(key, known) for key in keys]


def _images(results: Results) -> Iterator[str]:
    data = results.data
    counts = data.counts
    yield (
        f"We compared self-supervised pretraining with supervised training on "
        f"{words.plural(len(data.classes), 'class', 'classes')} of images: {_n(counts.train)} "
        f"labelled images for training, {_n(counts.validation)} for validation and "
        f"{_n(counts.test)} for the final test. Pretraining saw {_n(counts.pool)} images without "
        f"labels, {_n(counts.pool_from_train)} of them from the training images."
    )
    fractions = [words.percent(f, "{:.3g}") for f in tables.fractions(results)]
    if len(fractions) > 1:
        yield f"Classifiers were trained with {words.listed(fractions)} of the labels."
    yield f"Everything was repeated with {words.plural(len(tables.seeds(results)), 'seed')}."


def _pretraining(results: Results) -> Iterator[str]:
    encoder, settings = _part(results, "encoder"), _part(results, "pretrain")
    shown = [m for m in tables.methods(results) if _cited(Origin.parse(m).method)]
    if encoder:
        yield (
            f"The encoder was a {markdown(str(encoder.get('backbone')))} [@wightman2019timm] at "
            f"{encoder.get('image_size')} pixels, started from "
            f"{markdown(str(encoder.get('weights', 'random')))} weights."
        )
    if shown:
        names = [f"{markdown(method_title(m))} {_cite(Origin.parse(m).method)}" for m in shown]
        yield f"It was pretrained with {words.listed(names)}{_pretrained_for(settings)}"


def _pretrained_for(settings: Mapping[str, Any]) -> str:
    known = [
        f"{settings[key]} {name}"
        for key, name in (("epochs", "epochs"), ("batch_size", "images a batch"))
        if key in settings
    ]
    recipe = f", with the recipe “{markdown(settings.get('recipe'))}”" * ("recipe" in settings)
    return f" for {words.listed(known)}{recipe}." if known else "."


def _classifiers(results: Results) -> Iterator[str]:
    protocols = {row.arm.protocol for row in tables.summaries(results)}
    told = {
        "finetune": "fine-tuned as a whole",
        "linear": "frozen under a linear head",
        "knn": f"frozen under k-nearest neighbours {_cite('knn')}",
    }
    used = [text for name, text in told.items() if name in protocols]
    if used:
        yield f"Encoders were {words.listed(used)}."
    yield (
        "Supervised training began from the same weights and went through the same tuning: "
        "learning rate, weight decay and augmentation were chosen on the validation images, and "
        "training was lengthened until that helped no more."
    )
    if any(row.arm.role == Role.CONTROL for row in tables.summaries(results)):
        yield "Random weights and the largest class served as references."


def _comparison(results: Results) -> Iterator[str]:
    settings = _part(results, "compare")
    replicates = settings.get("replicates")
    drawn = f" ({_n(replicates)} replicates)" if isinstance(replicates, int) else ""
    metric = words.METRICS[tables.primary_metric(results)]
    yield (
        f"The primary metric was {metric} on the test images. Differences carry 95 % intervals "
        f"from a bootstrap over seeds and test images{drawn}, widened for few seeds; p-values were "
        f"corrected over all comparisons with supervised training {_cite('holm')}. Differences "
        f"below {100 * tables.margin(results):g} points were set to be too small to matter."
    )
    if any(arm.confidence for arm in results.arms):
        yield f"Probabilities were corrected by a temperature {_cite('temperature')}."


def _maps(results: Results) -> Iterator[str]:
    explained = results.explanations
    if explained is None:
        return
    used = [row.attribution for row in explained.sanity]
    used += [row.attribution for row in results.attribution_similarity]
    names = [f"{markdown(title(name))} {_cite(name)}".strip() for name in dict.fromkeys(used)]
    if names:
        yield (
            f"Attribution maps of {words.plural(explained.images, 'test image')} were made with "
            f"{words.listed(names)} {_cite('captum')}."
        )


def _software(results: Results) -> Iterator[str]:
    made = results.provenance
    versions = [
        f"{markdown(name)} {markdown(version)}" + f" {_cite('torch')}" * (name == "torch")
        for name, version in made.versions.items()
        if version
    ]
    tail = f", with {words.listed(versions)}" if versions else ""
    precision = f" in {made.precision} precision" * bool(made.precision)
    yield (
        f"The study was run with headstart {markdown(made.headstart)} on "
        f"{markdown(made.device)}{precision}{tail}."
    )


def _part(results: Results, name: str) -> Mapping[str, Any]:
    found = results.study.get(name)
    return found if isinstance(found, Mapping) else {}


def _n(count: int) -> str:
    return f"{count:,}"


def _cited(name: str) -> bool:
    return name in _REFERENCES or METHODS.usable(name) is not None


def _cite(name: str) -> str:
    keys = _keys(name)
    return f"[{'; '.join('@' + key for key in keys)}]" if keys else ""


def _keys(name: str) -> tuple[str, ...]:
    return _REFERENCES.get(name, (f"{_OWN}{name}",) if METHODS.usable(name) else ())


def _bibtex(key: str, known: Mapping[str, str]) -> str:
    if key in known:
        return known[key]
    method = METHODS[key.removeprefix(_OWN)]  # one of the user's own says what its paper is
    about = f"  title = {{{latex(method.title)}}},\n  note = {{{latex(method.paper)}}}"
    return f"@misc{{{key},\n{about}\n}}"


def _entries() -> dict[str, str]:
    """The references that come with headstart, by key."""
    file = resources.files("headstart.reporting").joinpath("templates/references.bib")
    entries = file.read_text("utf8").strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Settings as dotted names with their values."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, str(value)
