"""What attribution maps show: how alike, how sensitive, how faithful, and whether on the object."""

from __future__ import annotations

from headstart.reporting.sentences import names
from headstart.reporting.words import capital
from headstart.results import Faithfulness, Focus, Sanity, Similarity
from headstart.stats.bootstrap import FEWEST
from headstart.stats.calibration import Verdict

ALIKE: dict[Verdict, str] = {
    "same": "look at the same things",
    "different": "look at different things",
    "unclear": "can't tell",
    "not_reproducible": (
        "maps from this method are not reproducible across seeds; no comparison is possible"
    ),
    "no_ceiling": "can't tell: a second seed of a method is needed to know how alike maps can be",
    "no_maps": "can't tell: too few images have a map from every network",
}
SANITY = {
    None: "not tested: that takes two seeds with maps",
    True: "the maps depend on what the network learned",
    False: "insensitive: the maps are as alike under random weights as across two seeds",
}


def similarity(row: Similarity) -> str | None:
    """Whether two arms look at the same things; None where no verdict was asked for."""
    if row.verdict is None:
        return None
    a, b = names.arm(row.arm_a, 0), names.arm(row.arm_b, 0)
    if row.verdict in ("same", "different"):
        return f"{capital(a)} and {b} {ALIKE[row.verdict]}"
    return f"{capital(a)} and {b}: {ALIKE[row.verdict]}"


def sanity(row: Sanity) -> str:
    """Whether an attribution's maps depend on the weights."""
    return SANITY[row.passed]


def faithfulness(row: Faithfulness) -> str:
    """Whether maps point at what moves the network's answer."""
    gaps = {"deletion": row.deletion, "insertion": row.insertion}
    better = [name for name, gap in gaps.items() if gap.low is not None and gap.low > 0]
    if row.deletion.low is None:
        text = "not measured: too few images have a map"
    elif len(better) == 2:
        text = "points at what moves the answer, better than a random order"
    elif better:
        text = f"better than a random order by {better[0]} only"
    else:
        text = "no better than a random order"
    return f"{capital(names.arm(row.arm, 0))}, {_spaced(row.attribution)}: {text}"


def focus(row: Focus) -> str | None:
    """Whether a network looks at the object more than an untrained one; None for that one."""
    if row.verdict is None:
        return None
    return f"By {_spaced(row.attribution)}, {names.arm(row.arm, 0)} {_focus(row)}"


def _focus(row: Focus) -> str:
    if row.verdict == "not measured":
        units = "images" if row.compared_groups == row.compared else "groups of images"
        return f"was not measured: fewer than {FEWEST} {units} have a map and a mask"
    tail = f", as far as {row.compared} images can tell" if row.verdict == "no more" else ""
    return f"looks at the object {row.verdict} than an untrained network does{tail}"


def _spaced(name: str) -> str:
    return name.replace("_", " ")
