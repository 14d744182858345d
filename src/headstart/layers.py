"""What a user asks for, laid over one another: preset < study file < ``--set`` < flags.

Each layer is a pair of where its settings come from (for the error line) and the settings, nested.
The command line and ``headstart.run`` read what they are given here, so both check it alike.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from headstart.arms import weights_fault
from headstart.config import PRESETS, Study, StudyError, explain_validation, named_weights
from headstart.recipes import resolve_recipe

Layers = Sequence[tuple[str, Mapping[str, Any]]]
"""Settings over settings, each with where it comes from."""

FLAGS = {
    "unlabeled": "data.unlabeled",
    "labeled": "data.labeled",
    "limit": "data.limit",
    "groups": "data.groups",
    "channels": "data.channels",
    "cache_budget": "data.cache_budget",
    "methods": "methods",
    "seeds": "seeds",
    "label_fractions": "label_fractions",
    "backbone": "encoder.backbone",
    "image_size": "encoder.image_size",
    "batch_size": "pretrain.batch_size",
    "epochs": "pretrain.epochs",
    "weights": "encoder.further_weights",
    "recipe": "pretrain.recipe",
    "on_collapse": "pretrain.on_collapse",
    "compute_matched": "classify.compute_matched",
    "attributions": "explain.attributions",
    "images": "explain.images",
    "masks": "explain.masks",
    "margin": "compare.margin",
    "device": "engine.device",
    "devices": "engine.devices",
    "executor": "engine.executor",
    "workers": "engine.workers",
    "track": "engine.track",
    "compile": "engine.compile",
    "activation_checkpointing": "engine.activation_checkpointing",
}
"""Flags of the command line, and keyword arguments in Python -> the setting that each is short for.
"""

# What PyYAML raises for text it cannot read: its constructors let Python's own errors through.
_NOT_YAML = (
    yaml.YAMLError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    ArithmeticError,
    RecursionError,
)


def compose_study(preset: str, file: Path | None, changes: Layers) -> Study:
    """The study of a preset and a study file, under changes.

    Raises:
        StudyError: an unknown preset, or the first fault of a layer in one line.
    """
    if preset not in PRESETS:
        near = get_close_matches(preset, PRESETS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise StudyError(f"--preset: '{preset}' is not one of {', '.join(PRESETS)}{hint}")
    layers = [(f"preset {preset}", PRESETS[preset]())]
    if file is not None:
        layers.append((str(file), read_study_file(file)))
    return build_study([*layers, *changes])


def build_study(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> Study:
    """Merge layers of settings, later over earlier, and check the whole.

    Naming methods selects them; only ``--set methods.moco.queue=512`` changes one and keeps the
    others.

    Args:
        layers: pairs of where the settings come from (for the error line) and the nested settings.

    Raises:
        StudyError: one line naming the key, what is wrong with it, and the nearest known key.
    """
    study = Study()
    merged: dict[str, Any] = {"methods": study.methods}
    for source, layer in layers:
        named = layer.get("methods")
        merged = merge_settings(merged, layer)
        if isinstance(named, Mapping) and not source.startswith("--set"):
            merged["methods"] = {name: merged["methods"][name] for name in named}
        try:
            study = Study.model_validate(merged)
        except ValidationError as error:
            raise StudyError(f"{source}: {explain_validation(error, Study)}") from None
        fault = weights_fault(list(study.encoder.further_weights))
        if fault:
            raise StudyError(f"{source}: encoder.further_weights: {fault}")
        for method in study.methods:
            try:
                resolve_recipe(study, method)
            except StudyError as error:
                raise StudyError(f"{source}: {error}") from None
    return study


def assignment_layers(assignments: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A layer for each ``a.b=value``."""
    for text in assignments:
        yield f"--set {text}", read_assignment(text)


def flag_layers(flags: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A layer for each flag of ``FLAGS`` that has a value; None is no value."""
    for flag, value in flags.items():
        if value is not None:
            yield "--" + flag.replace("_", "-"), _nested(FLAGS[flag], value)


def read_study_file(path: Path) -> dict[str, Any]:
    """The nested settings of a YAML study file; relative paths are taken from its folder.

    Raises:
        StudyError: the file is missing, unreadable, or not a mapping.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf8"))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror or error}") from None
    except _NOT_YAML as error:
        line = " ".join(str(error).split())[:160]
        raise StudyError(f"{path}: not readable as YAML: {line}") from None
    if not isinstance(settings, dict):
        raise StudyError(
            f"{path}: must hold 'key: value' lines, like 'label_fractions: [0.1, 1.0]'"
        )
    data = settings.get("data")
    _anchor(data, ("unlabeled", "labeled", "cache"), path.parent)
    if isinstance(data, dict) and str(data.get("groups", "")).lower().endswith(".csv"):
        _anchor(data, ("groups",), path.parent)
    _anchor(settings.get("explain"), ("masks",), path.parent)
    encoder = settings.get("encoder")
    if isinstance(encoder, dict) and encoder.get("weights") not in ("random", "pretrained"):
        _anchor(encoder, ("weights",), path.parent)
    if isinstance(encoder, dict) and "further_weights" in encoder:
        _anchor_further(encoder, path)
    return settings


def _anchor_further(encoder: dict[str, Any], path: Path) -> None:
    """The same of the files of further weights, which may be listed or named."""
    try:
        files = named_weights(encoder["further_weights"])
    except StudyError as error:
        raise StudyError(f"{path}: encoder.further_weights: {error}") from None
    encoder["further_weights"] = files
    if isinstance(files, dict):
        _anchor(files, tuple(n for n, file in files.items() if file != "pretrained"), path.parent)


def _anchor(group: Any, keys: tuple[str, ...], folder: Path) -> None:
    """Make the named paths of a group of settings relative to ``folder``; ``~`` is the home.

    What names a data set, as ``hf:NAME`` does, is no path.
    """
    for key in keys:
        value = group.get(key) if isinstance(group, dict) else None
        if isinstance(value, str) and not re.match(r"[a-z][a-z0-9]+:", value):
            group[key] = str(folder / os.path.expanduser(value))


def read_assignment(text: str) -> dict[str, Any]:
    """``a.b=value`` as nested settings; the value is read as YAML, so ``[1, 2]`` is a list.

    Raises:
        StudyError: there is no ``=`` or no key.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise StudyError(f"--set {text}: write key=value, like pretrain.epochs=200")
    try:
        nested: Any = yaml.safe_load(value)
    except _NOT_YAML:
        nested = value
    return _nested(key, nested)


def _nested(key: str, value: Any) -> dict[str, Any]:
    """``a.b`` and a value as ``{"a": {"b": value}}``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries joined; a list of methods selects, and keeps what was set of them."""
    merged = dict(base)
    for key, value in over.items():
        if key == "methods" and isinstance(value, str | list | tuple):
            chosen = Study._by_name(value)
            known = merged.get("methods", {})
            merged[key] = {name: known.get(name, {}) for name in chosen}
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge_settings(merged[key], value)
        else:
            merged[key] = value
    return merged
