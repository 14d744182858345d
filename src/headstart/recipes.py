"""Methods' recipes in a study: settings checked against what each method takes.

A method's keyword-only arguments are its settings, so this is the only place where a study meets
the registry of methods.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from headstart.config import (
    Frozen,
    Pretrain,
    Recipe,
    Study,
    StudyError,
    explain_validation,
    plain_setting,
)
from headstart.methods import METHODS

RECIPES: tuple[Literal["small"], Literal["paper"]] = ("small", "paper")
_PARTS = ("optim", "view1", "view2", "views")


def resolve_recipe(study: Study, method: str) -> Recipe:
    """A method's own recipe (``small`` or ``paper``) under the study's changes.

    Changes are the method's keyword arguments, and ``optim``, ``view1``, ``view2``, or ``views``
    for both.

    Raises:
        StudyError: unknown method or setting, or a value outside its limits.
    """
    if method not in METHODS:
        raise StudyError(f"methods: {METHODS.unknown(method)}")
    kind = METHODS[method]
    recipe = kind.recipe(study.pretrain.recipe, study.pretrain.epochs)
    changes = dict(study.methods.get(method, {}))
    given = {name: _settings_in(changes.pop(name, None), method, name) for name in _PARTS}
    parts = {name: {**given["views"], **given[name]} for name in ("view1", "view2")}
    parts["optim"] = given["optim"]
    nested = {name: {**getattr(recipe, name).model_dump(), **part} for name, part in parts.items()}
    try:
        checked = Recipe.model_validate(nested)
    except ValidationError as error:
        raise StudyError(f"methods.{method}.{explain_validation(error, Recipe)}") from None
    settings = {**recipe.settings, **changes}
    signature = _signature_model(method, kind.__init__)
    try:
        valid = signature.model_validate(settings)
    except ValidationError as error:
        fault = explain_validation(error, signature, also=_PARTS)
        raise StudyError(f"methods.{method}.{fault}") from None
    return checked.model_copy(update={"settings": valid.model_dump()})


def _settings_in(value: Any, method: str, name: str) -> dict[str, Any]:
    if value is None:  # a key with nothing after it changes nothing
        return {}
    if not isinstance(value, Mapping):
        raise StudyError(f"methods.{method}.{name}: must hold 'key: value' settings, not {value!r}")
    return dict(value)


class _Signature(Frozen):
    """Base of the models made from constructors, which have no source to read docstrings from."""

    model_config = ConfigDict(use_attribute_docstrings=False)


def _signature_model(name: str, function: Callable[..., Any]) -> type[BaseModel]:
    """A pydantic model of a constructor's keyword-only arguments: the signature is the schema."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        p.name: (hints[p.name], p.default)
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(name, __base__=_Signature, **fields)


def fit_to_pool(recipe: Recipe, pool: int) -> tuple[Recipe, list[str]]:
    """The recipe with a queue of at most half the pool, and a line where that changed it."""
    queue = recipe.settings.get("queue", 0)
    most = max(1, pool // 2)
    if queue <= most:
        return recipe, []
    settings = {**recipe.settings, "queue": most}
    line = f"queue of {queue} cut to {most}, half the pool: a longer one holds false negatives"
    return recipe.model_copy(update={"settings": settings}), [line]


def recipe_table() -> list[tuple[str, str, str]]:
    """Every method's settings as (dotted name, ``small`` recipe, ``paper`` recipe)."""
    rows = []
    for method in METHODS.whole():
        small, paper = (
            resolve_recipe(Study(pretrain=Pretrain(recipe=recipe)), method) for recipe in RECIPES
        )
        for one, other in zip(_flat(small), _flat(paper), strict=True):
            rows.append((f"methods.{method}.{one[0]}", one[1], other[1]))
    return rows


def _flat(recipe: Recipe) -> list[tuple[str, str]]:
    """A recipe as dotted names and plain values."""
    rows = [(name, plain_setting(value)) for name, value in recipe.settings.items()]
    for part in ("optim", "view1", "view2"):
        values = getattr(recipe, part).model_dump()
        rows += [(f"{part}.{name}", plain_setting(value)) for name, value in values.items()]
    return rows
