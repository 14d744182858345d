"""Sentences for people, written from the typed results: the one place that writes them.

differences  which of two arms is better
savings      how many labels an arm saves
maps         what attribution maps show
background   how far an answer depends on the background
images       what to say of the images themselves
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import TypeVar

from headstart.reporting.sentences import background, differences, maps, savings
from headstart.results import (
    AreaDifference,
    Background,
    BackgroundDifference,
    Centre,
    Comparison,
    Comparisons,
    Explanations,
    Faithfulness,
    Focus,
    LabelSaving,
    Model,
    Sanity,
    Similarity,
)

Row = TypeVar("Row", bound=Model)


@singledispatch
def sentence(row: Model) -> str | None:
    """The sentence of one row of the results; None where the row has none.

    Raises:
        TypeError: a kind of row that has no sentence.
    """
    raise TypeError(f"{type(row).__name__} has no sentence")


sentence.register(Comparison, differences.difference)
sentence.register(AreaDifference, differences.difference)
sentence.register(LabelSaving, savings.label_saving)
sentence.register(Similarity, maps.similarity)
sentence.register(Sanity, maps.sanity)
sentence.register(Faithfulness, maps.faithfulness)
sentence.register(Focus, maps.focus)
sentence.register(Background, background.background)
sentence.register(BackgroundDifference, background.background_difference)
sentence.register(Centre, background.centre)


def with_sentences(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The same rows with their sentences; a similarity without a verdict stays as it is."""
    return tuple(
        row
        if isinstance(row, Similarity) and row.verdict is None
        else row.model_copy(update={"sentence": sentence(row)})
        for row in rows
    )


def write_comparisons(found: Comparisons) -> Comparisons:
    """Comparisons with a sentence in every row."""
    return found.model_copy(
        update={
            "comparisons": with_sentences(found.comparisons),
            "method_pairs": with_sentences(found.method_pairs),
            "area_differences": with_sentences(found.area_differences),
            "label_saving": with_sentences(found.label_saving),
        }
    )


def write_explanations(found: Explanations) -> Explanations:
    """Explanations with a sentence in every row, and notes on what was not measured."""
    return found.model_copy(
        update={
            "sanity": with_sentences(found.sanity),
            "faithfulness": with_sentences(found.faithfulness),
            "focus": with_sentences(found.focus),
            "background": with_sentences(found.background),
            "background_differences": with_sentences(found.background_differences),
            "centre": with_sentences(found.centre),
            "notes": tuple(background.not_measured(gap) for gap in found.not_measured),
        }
    )
