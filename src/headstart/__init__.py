"""headstart: does self-supervised pretraining give my classifier a head start?

>>> import headstart
>>> results = headstart.run(unlabeled="photos", labeled="bags", out="runs/bags")
>>> print(results)

Importing this changes nothing and is quick: what needs PyTorch is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.api import (
        compare,
        explain,
        load_classifier,
        load_encoder,
        predict,
        run,
        suggest,
    )
    from headstart.config import Study, StudyError
    from headstart.features import Encoder
    from headstart.plugins import (
        register_attribution,
        register_executor,
        register_method,
        register_section,
        register_source,
        register_tracker,
    )
    from headstart.results import Results, load_results

_HOMES = {
    "api": ("compare", "explain", "load_classifier", "load_encoder", "predict", "run", "suggest"),
    "config": ("Study", "StudyError"),
    "features": ("Encoder",),
    "plugins": (
        "register_attribution",
        "register_executor",
        "register_method",
        "register_section",
        "register_source",
        "register_tracker",
    ),
    "results": ("Results", "load_results"),
}

__all__ = [
    "Encoder",
    "Results",
    "Study",
    "StudyError",
    "compare",
    "explain",
    "load_classifier",
    "load_encoder",
    "load_results",
    "predict",
    "register_attribution",
    "register_executor",
    "register_method",
    "register_section",
    "register_source",
    "register_tracker",
    "run",
    "suggest",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"headstart.{module}"), name)
    raise AttributeError(f"module 'headstart' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
