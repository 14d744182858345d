"""The sections of the page, in their order; a new one is one file and one line here."""

from __future__ import annotations

from headstart.registry import Registry
from headstart.reporting.sections.base import Section

SECTIONS: Registry[Section] = Registry(
    "section",
    {
        "answer": "headstart.reporting.sections.answer:answer",
        "validity": "headstart.reporting.sections.validity:validity",
        "data": "headstart.reporting.sections.data:data",
        "scores": "headstart.reporting.sections.scores:scores",
        "spread": "headstart.reporting.sections.spread:spread",
        "confidence": "headstart.reporting.sections.confidence:confidence",
        "classes": "headstart.reporting.sections.classes:classes",
        "mistakes": "headstart.reporting.sections.mistakes:mistakes",
        "pretraining": "headstart.reporting.sections.pretraining:pretraining",
        "features": "headstart.reporting.sections.features:features",
        "maps": "headstart.reporting.sections.maps:maps",
        "limits": "headstart.reporting.sections.limits:limits",
        "glossary": "headstart.reporting.sections.glossary:glossary",
        "reproduce": "headstart.reporting.sections.reproduce:reproduce",
    },
)
