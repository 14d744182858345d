"""How many labels a method saves, in one sentence."""

from __future__ import annotations

from math import floor, inf, log10
from typing import Literal

from headstart.reporting.sentences import names
from headstart.results import LabelSaving
from headstart.stats.labels import LabelSaving as Saving


def label_saving(row: LabelSaving) -> str:
    """The saving of a row of the results.

    Raises:
        ValueError: results of an older version, which lack the measured label counts.
    """
    if row.smallest is None or row.largest is None:
        raise ValueError("the row does not say which label counts were measured")
    saving = Saving(
        labels=row.labels,
        needed=_labels(row.needed, row.censored),
        low=_labels(row.low, row.low_censored),
        high=_labels(row.high, row.high_censored),
        smallest=row.smallest,
        largest=row.largest,
    )
    return saving_sentence(saving, names.arm(row.arm_a, row.seeds), names.arm(row.arm_b, row.seeds))


def _labels(count: float | None, censored: Literal["below", "above"] | None) -> float:
    """A count of labels; 0 and ∞ stand for what lies outside the measured counts."""
    if count is not None:
        return count
    return 0.0 if censored == "below" else inf


def saving_sentence(saving: Saving, name: str, baseline: str = "supervised training") -> str:
    """One sentence about a label saving; ``name`` and ``baseline`` are what the arms are called.

    The saving is a number only where ``quotable``; elsewhere it is "at least" or not claimed.
    """
    share = 100 * saving.labels / saving.largest
    start = f"With {share:.3g} % of your labels ({saving.labels:,}), {name} does"
    if saving.needed == 0:
        return (
            f"{start} worse than {baseline} with {saving.smallest:,} labels: it saves none "
            f"({_factor(saving, 0)})."
        )
    if saving.needed == inf:
        limit = f" (95 % interval from {_factor(saving, saving.low)})" if saving.low < inf else ""
        return (
            f"{start} better than {baseline} with all {saving.largest:,}: it saves "
            f"{_factor(saving, inf)}{limit}."
        )
    if not saving.quotable:
        return _at_least(saving, start, baseline)
    saves = "it saves roughly" if saving.factor >= 1 else "it saves none, roughly"
    ends = _range(_count(saving, saving.low), _count(saving, saving.high))
    factors = _range(_factor(saving, saving.low), _factor(saving, saving.high))
    return (
        f"{start} as well as {baseline} with about {_round(saving.needed)} labels "
        f"(95 % interval {ends}): {saves} {_times(saving.factor)} ({factors})."
    )


def _at_least(saving: Saving, start: str, baseline: str) -> str:
    """Too near to the largest count for a number: the lower limit is all that can be said."""
    low = min(saving.low, saving.largest)
    if low <= saving.labels:
        return (
            f"{start} about as well as {baseline}: whether it saves labels cannot be told this "
            f"close to all labels ({saving.largest:,})."
        )
    return (
        f"{start} as well as {baseline} with at least {_round(low)} labels: it saves at "
        f"least {_times(low / saving.labels)} (lower end of the 95 % interval; with all "
        f"{saving.largest:,} labels so near, no more can be said)."
    )


def _count(saving: Saving, labels: float) -> str:
    if labels == 0:
        return f"fewer than {saving.smallest:,}"
    return f"at least {saving.largest:,}" if labels == inf else _round(labels)


def _factor(saving: Saving, labels: float) -> str:
    if labels == 0:
        return f"less than {_times(saving.smallest / saving.labels)}"
    if labels == inf:
        return f"at least {_times(saving.largest / saving.labels)}"
    return _times(labels / saving.labels)


def _range(low: str, high: str) -> str:
    if (low + high).strip("0123456789.,×"):
        return f"{low} to {high}"
    return f"{low.removesuffix('×')}–{high}"


def _round(labels: float) -> str:
    """Two figures are as many as such a number deserves."""
    digits = max(0, floor(log10(max(labels, 1.0))) - 1)
    return f"{round(labels, -digits):,.0f}"


def _times(factor: float) -> str:
    return f"{factor:.1f}×" if factor < 100 else f"{factor:,.0f}×"
