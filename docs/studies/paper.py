"""Print ``paper.md``: what the reference study's published tables say when headstart reads them.

python docs/studies/paper.py > docs/studies/paper.md
"""

# ruff: noqa: E501 - a paragraph is one line, as in Markdown

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from headstart.stats.bootstrap import bootstrap_metrics
from headstart.stats.hypotheses import (
    against_majority,
    chance_test,
    chi2_independence,
    holm,
    mcnemar_exact,
)
from headstart.stats.intervals import wilson
from headstart.stats.metrics import balanced_accuracy, kappa

HERE = Path(__file__).parent
BASELINE = "Supervised"

INTRODUCTION = """\
# The reference study, read again

{source}. Nine classes of bags; ResNet-50; MoCo, SimCLR, SimSiam and BYOL pretrained for up to 1,500 epochs, then a linear head on the frozen encoder; a supervised ResNet-50 beside them. The number behind a method's name is its epochs. The study prints a confusion matrix for each network and concludes that self-supervised learning "may actually be comparable to supervised".

`paper_confusions.json` holds the {matrices} published matrices, typed in; this page is what `python docs/studies/paper.py` prints of them. Each counts all labelled images, those trained on included. Images are taken as independent, which photographs of the same product are not.

Always answering "{majority}" is right for {floor} of the {n:,} images and has a balanced accuracy of {chance}.
"""

SIGNATURE = """
## What the rows look like

A classifier that knows something answers differently for different classes. The distance between a class's answers and the answers over all classes (total variation, mean over the classes) is {baseline:.3f} for the supervised network and {low:.3f} to {high:.3f} for the self-supervised ones that are not constant: their rows are almost equal. That is what BatchNorm does when a network is scored in training mode on batches of one class each: it subtracts the batch mean, and the class with it. The study's scripts switch the supervised network to evaluation and the others not. This fits the tables and does not prove it, since the weights are not published. headstart scores every network again in other batches and gives no verdict where that changes an answer (gate G2).
"""

CLOSING = """
## What follows

- The tables contradict "comparable": whatever the pairing of the images, the supervised network answers more of them correctly than every self-supervised one that is not constant. Only those that always give the majority's answer come near, and they learned nothing.
- No self-supervised network beats the constant answer in accuracy; neither does the supervised one ({gain:+d} images, p = {p:.2g}), though its balanced accuracy shows that it learned.
- Neither statement is about the methods: one training run each, scored on images that were trained on, other starts for different arms, and the scoring above.
"""


def page() -> str:
    """The whole page, in Markdown."""
    published = json.loads((HERE / "paper_confusions.json").read_text(encoding="utf8"))
    matrices = {n: np.array(M) for n, M in published["confusion_matrices"].items()}
    support = matrices[BASELINE].sum(axis=1)
    majority = against_majority(matrices[BASELINE])
    distances = {n: _distance(M) for n, M in matrices.items() if not _constant(M)}
    others = [d for n, d in distances.items() if n != BASELINE]
    return "".join(
        [
            INTRODUCTION.format(
                source=published["source"],
                matrices=len(matrices),
                majority=published["classes"][int(support.argmax())],
                floor=_percent(support.max() / support.sum()),
                n=int(support.sum()),
                chance=_percent(1 / len(support)),
            ),
            "\n## Did the networks learn?\n\n",
            *_scores(matrices),
            "\n## Against the supervised network\n\n",
            *_differences(matrices),
            SIGNATURE.format(baseline=distances[BASELINE], low=min(others), high=max(others)),
            CLOSING.format(gain=majority.gain, p=majority.p),
        ]
    )


def _scores(matrices: dict[str, np.ndarray]) -> list[str]:
    tests = {name: chance_test(M) for name, M in matrices.items()}
    corrected = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    lines = [
        "The chance interval is the middle 95 % of the balanced accuracy when both margins are "
        "kept and the answers are shuffled; p is corrected over all networks (Holm). The last "
        "column counts images won or lost against the constant answer.\n\n",
        "| network | accuracy [95 %] | balanced accuracy [95 %] | by chance | learned? | κ | "
        "Cramér's V | against constant |\n|---|---|---|---|---|---:|---:|---:|\n",
    ]
    for name, M in matrices.items():
        test, low_high = tests[name], bootstrap_metrics(M)["balanced_accuracy"]
        low, high = wilson(int(np.trace(M)), int(M.sum()))
        p = corrected[name]
        if _constant(M):
            said = "no: one answer for everything"
        else:
            said = f"{'yes' if p < 0.05 else 'no'} (p {_p(p)})"
        lines.append(
            f"| {name} | {_percent(np.trace(M) / M.sum())} {_ends(low, high)} "
            f"| {_percent(balanced_accuracy(M))} {_ends(low_high.low, low_high.high)} "
            f"| {_ends(test.low, test.high)} | {said} | {float(kappa(M)):.3f} "
            f"| {chi2_independence(M).cramers_v:.3f} | {against_majority(M).gain:+d} |\n"
        )
    return lines


def _differences(matrices: dict[str, np.ndarray]) -> list[str]:
    lines = [
        "Which images each network got right is not published, so McNemar's test can only be "
        "bounded: the number of images on which two networks differ lies between two limits that "
        "the matrices set. The table gives the case that speaks least for a difference.\n\n",
        "| supervised minus | accuracy, points | images that differ | widest 95 % interval | "
        "p at most |\n|---|---:|---:|---|---:|\n",
    ]
    base = matrices[BASELINE]
    for name, M in matrices.items():
        if name == BASELINE:
            continue
        least, most = discordant(base, M)
        gap, n = int(np.trace(base) - np.trace(M)), int(base.sum())
        half = 1.96 * np.sqrt(most - gap**2 / n) / n
        # As many discordant images as can be, of which the difference is as it is.
        won = (most + gap) // 2
        p = mcnemar_exact(won, won - gap)
        lines.append(
            f"| {name} | {100 * gap / n:+.1f} | {least:,} to {most:,} "
            f"| {_ends(gap / n - half, gap / n + half)} | {_p(p)} |\n"
        )
    return lines


def discordant(A: np.ndarray, B: np.ndarray) -> tuple[int, int]:
    """Fewest and most images that only one of two networks answered correctly.

    In class k with n_k images a_k and b_k right answers overlap by at most min(a_k, b_k) and at
    least max(0, a_k + b_k − n_k).
    """
    a, b, n = np.diag(A), np.diag(B), A.sum(axis=1)
    return int(np.abs(a - b).sum()), int(np.minimum(a + b, 2 * n - a - b).sum())


def _distance(M: np.ndarray) -> float:
    """Mean over classes of the total variation between a class's answers and all answers."""
    rows, pooled = M / M.sum(axis=1, keepdims=True), M.sum(axis=0) / M.sum()
    return float((np.abs(rows - pooled).sum(axis=1) / 2).mean())


def _constant(M: np.ndarray) -> bool:
    return bool((M.sum(axis=0) > 0).sum() == 1)


def _percent(share: float) -> str:
    return f"{100 * float(share):.1f} %"


def _ends(low: float, high: float) -> str:
    text = f"[{100 * float(low):.1f}, {100 * float(high):.1f}]"
    return text.replace("-", "−")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


if __name__ == "__main__":
    print(page(), end="")
