"""How far an answer depends on the background, or on the middle of the picture."""

from __future__ import annotations

from headstart.reporting.sentences import names
from headstart.reporting.words import capital
from headstart.results import Background, BackgroundDifference, Centre, Interval, NotMeasured

LEVEL = 0.05
UNASKED = "Whether the answers depend on the background was not measured: "
NOT_MEASURED = {
    "no masks": (
        "Whether the networks look at the object was not measured: there are no masks. "
        "headstart explain RUN --masks FOLDER measures it."
    ),
    "turned off": UNASKED + "explain.background_images is 0.",
    "few masked images": (
        UNASKED + "{images} test images have a mask, and it takes {needed} at least."
    ),
    "no pair of images": UNASKED
    + "no two images of a class have an object and a background beside it to tile with.",
    "few backgrounds": UNASKED
    + "{images} masks leave a background to tile with, and it takes {needed} at least.",
}


def not_measured(gap: NotMeasured) -> str:
    """Why something was not measured, and what would change it."""
    return NOT_MEASURED[gap.reason].format(images=gap.images, needed=gap.needed)


def background(row: Background) -> str:
    """Whether an arm relies on the background; a share of 0.01 is a point."""
    who = capital(names.arm(row.arm, 0))
    if _side(row.gap) is None or row.gap.value is None:
        return f"{who} was not measured: the images with masks belong to too few groups"
    size = f"{100 * abs(row.gap.value):.1f} points"
    verb = "loses" if row.gap.value >= 0 else "wins"
    moved = f"it {verb} {size} when the background comes from a random class"
    reliance = {
        1: f"{who} leans on the background: {moved}",
        -1: f"{who} does better on a random class's background ({size} won): not reliance",
        0: f"{who} was not shown to lean on the background: {moved}, and the interval includes 0",
    }[_side(row.gap) or 0]
    knows = row.skill_p is not None and row.skill_p < LEVEL and _side(row.skill) == 1
    alone = (
        "the background alone tells it the class"
        if knows
        else "the background alone tells it nothing that could be shown"
    )
    return f"{reliance}; {alone}"


def background_difference(row: BackgroundDifference) -> str:
    """Which of two arms relies on the background more."""
    a, b = names.arm(row.arm_a, 0), names.arm(row.arm_b, 0)
    return capital(
        {
            None: f"{a} and {b} were not measured",
            1: f"{a} leans on the background more than {b}",
            -1: f"{b} leans on the background more than {a}",
            0: f"between {a} and {b} no difference in reliance on the background could be shown",
        }[_side(row)]
    )


def centre(row: Centre) -> str:
    """Whether blurring the middle or the border costs more."""
    text = {
        None: "not measured",
        1: "blurring the middle costs the true class more than blurring the border",
        -1: "blurring the border costs the true class more than blurring the middle",
        0: "no difference between blurring the middle and the border could be shown",
    }[_side(row.difference)]
    return f"{capital(names.arm(row.arm, 0))}: {text}"


def _side(gap: Interval) -> int | None:
    """1 for an interval above 0, −1 for one below it, 0 for one around it, None for none."""
    if gap.low is None or gap.high is None:
        return None
    return 1 if gap.low > 0 else -1 if gap.high < 0 else 0
