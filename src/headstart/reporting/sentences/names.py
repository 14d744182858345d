"""What arms are called inside a sentence.

One seed is one trained model a method, and is called so; several seeds speak of the method.
"""

from __future__ import annotations

from collections.abc import Sequence

from headstart.arms import BASELINES, Arm, Origin, Role, method_title
from headstart.reporting import words

_MANNER = {"finetune": ("fine-tuned ", ""), "linear": ("", " with a linear head")}
_MANNER |= {"knn": ("", " with k-NN"), "matched": ("compute-matched ", "")}
SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOST_NAMED = 3


def arm(one: Arm, seeds: int) -> str:
    """``fine-tuned SimCLR``, or with one seed ``this fine-tuned SimCLR model``."""
    before, after = _MANNER.get(one.protocol, ("", ""))
    if one in BASELINES:
        kind = f"{before}supervised"
        return f"this {kind} model" if seeds == 1 else f"{kind} training"
    if seeds == 1:
        return f"this {before}{model(one)}{after}"
    if one.role in (Role.GIVEN, Role.FROZEN):  # weights, of which nobody would say that they learn
        return f"the {before}{model(one)}{after}"
    return f"{before}{method_title(one.method)}{after}"


def model(one: Arm) -> str:
    """``SimCLR model``, ``SimCLR model continued from x weights``, ``model from x weights``."""
    origin = Origin.parse(one.method)
    if one.role == Role.FOREIGN:
        return f"model ({one.method})"
    if one.role in (Role.GIVEN, Role.FROZEN):
        return f"model from {origin.title}"
    further = f" continued from {origin.start} weights" if origin.start else ""
    return f"{method_title(origin.method)} model{further}"


def baseline(seeds: int) -> str:
    """What candidates are compared with."""
    return "the supervised model" if seeds == 1 else "supervised training"


def subject(arms: Sequence[Arm], seeds: int, total: int = 0) -> str:
    """Several methods as the subject of a sentence: by name, or if they are many of ``total``."""
    if len(arms) > MOST_NAMED and all(one.role == Role.PRETRAINED for one in arms):
        kind = "pretrained models" if seeds == 1 else "pretraining methods"
        every = f"all {number(total)}" if len(arms) == total else f"{number(len(arms))} of {total}"
        return f"{every} {kind}"
    pretrained = [method_title(a.method) for a in arms if a.role == Role.PRETRAINED]
    others = [a for a in arms if a.role != Role.PRETRAINED]
    if seeds == 1:
        parts = [f"the {words.listed(pretrained)} model{'s' * (len(pretrained) > 1)}"]
        parts = parts * bool(pretrained) + [f"the {model(other)}" for other in others]
    else:
        parts = [f"{words.listed(pretrained)} pretraining"] * bool(pretrained)
        parts += [_from(other) for other in others]
    return words.listed(parts)


def _from(one: Arm) -> str:
    title = method_title(one.method)
    return f"starting from {title}" if one.role in (Role.GIVEN, Role.FROZEN) else title


def number(count: int) -> str:
    """Small numbers in words."""
    return SMALL[count] if count < len(SMALL) else words.count(count)


def how_many(count: int, singular: str) -> str:
    """``two comparisons``, ``12 comparisons``."""
    return f"{number(count)} {singular}{'s' * (count != 1)}"
