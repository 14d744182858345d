"""Run the demo on the bags of several seeds, and print what it answers, in Markdown.

    python docs/studies/demo_seeds.py runs/demo-seeds > runs/demo-seeds.md

``demo.md`` beside this file holds what it answered.

Runs again where it was stopped. Which settings the preset has was decided on the bags of seeds 100
and above; the seeds here were not looked at before.
"""

# ruff: noqa: E501 - a paragraph is one line, as in Markdown

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from headstart.data.synthetic import demo_bags, generate
from headstart.layers import compose_study, flag_layers
from headstart.pipeline import run_study
from headstart.results import Comparison

INTRODUCTION = """\
# The demo on ten sets of bags

`headstart demo` draws its bags from a seed. This is what `make demo-seeds` prints: the demo's answer for each of the seeds {seeds}, with everything else as the preset has it. The settings were chosen on bags of seeds 100 and above. A difference is in points of balanced accuracy against supervised training, with its 95 % interval over test images; each seed's bags are other bags and its networks other networks.

"""


def main() -> None:
    """Run the seeds asked for and print the page."""
    parser = argparse.ArgumentParser(description="The demo's answers for several sets of bags.")
    parser.add_argument("folder", type=Path, help="where images and runs go")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    asked = parser.parse_args()
    found = {}
    for seed in asked.seeds:
        print(f"seed {seed}", file=sys.stderr)
        found[seed] = answers(asked.folder / f"seed-{seed}", seed)
    print(page(found), end="")


def answers(folder: Path, seed: int) -> Sequence[Comparison]:
    """The demo's comparisons on the bags of a seed; ``folder`` keeps its images and its run."""
    bags = generate(folder / "images", demo_bags(seed=seed))
    asked = {"unlabeled": bags / "unlabeled", "labeled": bags / "labeled", "masks": bags}
    study = compose_study("demo", None, list(flag_layers({**asked, "seeds": [seed]})))
    return run_study(study, folder / "bags").results.comparisons


def shows_both(comparisons: Sequence[Comparison]) -> bool:
    """Whether one trained arm is better than supervised, and another is not or cannot be told.

    k-NN is left out: the question is of linear heads and fine-tuning.
    """
    verdicts = {c.verdict for c in comparisons if c.arm_a.protocol != "knn"}
    return "better" in verdicts and bool({"can't tell", "worse"} & verdicts)


def page(found: dict[int, Sequence[Comparison]]) -> str:
    """The page, in Markdown."""
    rows = [_row(seed, c) for seed, comparisons in found.items() for c in comparisons]
    both = sum(shows_both(comparisons) for comparisons in found.values())
    better = sum(any(c.verdict == "better" for c in cs) for cs in found.values())
    return "\n".join(
        [
            INTRODUCTION.format(seeds=", ".join(map(str, found))),
            f"At least one arm is better in {better} of {len(found)} seeds; at least one linear head or fine-tuned arm is better and another is worse or can't be told in {both} of {len(found)}.\n",
            "| seed | labels | arm | verdict | difference, points |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _row(seed: int, c: Comparison) -> str:
    difference = "—"
    if c.difference is not None and c.low is not None and c.high is not None:
        difference = f"{c.difference:+.1%} [{c.low:+.1%}, {c.high:+.1%}]".replace("%", "")
    label = c.arm_a.label
    return f"| {seed} | {c.fraction:.0%} | {label} | {c.verdict} | {difference} |"


if __name__ == "__main__":
    main()
