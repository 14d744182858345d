"""Names and numbers as the report writes them.

Shares become per cent with one decimal, differences become points with a sign, ``None`` becomes
an en dash. Nothing is rounded twice: every function takes the share in [0, 1] from the results.
"""

from __future__ import annotations

from collections.abc import Sequence

NONE = "–"

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "kappa": "κ",
}
REMOVED = {
    "unreadable": "files that could not be read",
    "pool_copies_of_test": "unlabelled images that are copies of test images",
    "pool_copies_of_validation": "unlabelled images that are copies of validation images",
    "pool_duplicates": "duplicates inside the unlabelled images",
    "train_copies_of_test": "training images that are copies of test images",
    "train_copies_of_validation": "training images that are copies of validation images",
    "validation_copies_of_test": "validation images that are copies of test images",
    "pool_copies_of_train": "unlabelled images that are copies of training images",
    "pool_near_copies_of_test": "unlabelled images that are nearly identical to test images",
    "pool_near_copies_of_validation": "unlabelled images that are nearly identical to validation "
    "images",
    "train_near_copies_of_test": "training images that are nearly identical to test images",
    "train_near_copies_of_validation": "training images that are nearly identical to validation "
    "images",
    "validation_near_copies_of_test": "validation images that are nearly identical to test images",
    "conflicting_labels": "copies of one image with different labels",
}
SPLITS = {
    "given": "The folders came with train, validation and test parts. They were kept.",
    "made": "The folders had no parts. Train, validation and test were made here.",
    "completed": "The folders had some of the parts. The missing ones were made here.",
}


def percent(share: float | None, form: str = "{:.1f}") -> str:
    """0.6123 → ``61.2 %``, with a no-break space."""
    return NONE if share is None else form.format(100 * share) + "\u00a0%"


def bracket(pair: Sequence[float | None] | None) -> str:
    """(0.55, 0.671) → ``[55.0, 67.1]``; empty where an end is missing."""
    if pair is None or any(end is None for end in pair):
        return ""
    return "[" + ", ".join(f"{100 * end:.1f}" for end in pair if end is not None) + "]"


def points(share: float | None, *, whole: bool = False) -> str:
    """0.041 → ``+4.1``, with a true minus sign for losses; ``whole`` is for headlines: ``+4``."""
    return NONE if share is None else _sign(f"{100 * share:+.{0 if whole else 1}f}")


def points_bracket(low: float | None, high: float | None) -> str:
    """(-0.012, 0.07) → ``[−1.2, +7.0]``; empty where an end is missing."""
    return "" if low is None or high is None else f"[{points(low)}, {points(high)}]"


def number(value: float | None, digits: int = 2) -> str:
    """A plain number with a fixed count of decimals."""
    return NONE if value is None else _sign(f"{value:.{digits}f}")


def p_value(p: float | None) -> str:
    """Three decimals, and never a bare zero: ``< 0.001``."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(value: int | None) -> str:
    """35840 → ``35 840``, with thin no-break spaces."""
    return NONE if value is None else f"{value:,}".replace(",", "\u202f")


def plural(n: int, singular: str, many: str | None = None) -> str:
    """``1 seed``, ``3 seeds``, ``2 classes``."""
    return f"{count(n)} {singular if n == 1 else many or singular + 's'}"


def fraction_name(fraction: float) -> str:
    """0.1 → ``10 % of the labels``; 1 → ``all labels``."""
    if fraction >= 1:
        return "all labels"
    return f"{percent(fraction, '{:.3g}')} of the labels"


def lost(status: str, reason: str | None) -> str:
    """Why there is no result: the reason, led by the status unless it names it itself."""
    if reason and status in reason:
        return reason
    return f"{status}: {reason or 'no reason given'}"


def seconds(value: float) -> str:
    """A duration for people: ``42 s``, ``12 min``, ``3.4 h``."""
    if value < 90:
        return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def sentence(text: str) -> str:
    """The text with a capital letter in front and a full stop behind."""
    text = text.strip()
    return capital(text) + ("" if text[-1:] in (*".!?", "") else ".")


def capital(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]


def shortened(names: Sequence[str], limit: int) -> list[str]:
    """Names cut in the middle to at most ``limit`` characters, still different from each other.

    Class names often share their beginning, so both ends are kept.
    """
    taken: list[str] = []
    for i, name in enumerate(names):
        short = name
        if len(name) > limit:
            tail = (limit - 1) // 2
            short = f"{name[: limit - 1 - tail]}…{name[-tail:]}"
        while short in taken:
            short = f"{short} ({i + 1})"
        taken.append(short)
    return taken


def _sign(text: str) -> str:
    if float(text) == 0:  # "+0.0" and "-0.0" both claim a direction that is not there
        return text.lstrip("+-")
    return text.replace("-", "−")
