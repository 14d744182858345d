"""Results of a run that never was: everything a report can hold, with knobs for its size.

The confusion matrices are drawn first; metrics, recalls and intervals are computed from them, so
that the numbers of one arm agree with each other as they do in a real run.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.results import Comparisons, Explanations, Results

BAGS = ("bauletto", "clutch", "hobo", "shopper", "tracolla")
ARMS = (
    ("majority", "majority"),
    ("random", "linear"),
    ("random", "knn"),
    ("supervised", "supervised"),
    ("moco", "finetune"),
    ("moco", "linear"),
    ("simclr", "finetune"),
    ("simclr", "linear"),
    ("simclr", "knn"),
    ("simsiam", "finetune"),
    ("simsiam", "linear"),
    ("byol", "finetune"),
    ("byol", "linear"),
)
LIFT = {"moco": 0.03, "simclr": 0.10, "simsiam": 0.05, "byol": 0.005}
EXPLAINED = ("random/linear", "supervised/supervised", "moco/finetune", "simclr/finetune")


@dataclass(frozen=True)
class Knobs:
    seeds: int = 3
    fractions: tuple[float, ...] = (1.0,)
    classes: tuple[str, ...] = BAGS
    collapsed: str | None = "simsiam"
    per_class: int = 36
    images: int = 4
    masks: str | None = "exact"
    pretrained: tuple[str, ...] = ("moco", "simclr", "simsiam", "byol")
    draw: int = 0
    shown: int = 0
    """Test images with a small picture; 0 as in results of older versions."""


def typed(results: dict[str, Any] | Results) -> Results:
    """The results as a report reads them."""
    return Results.model_validate(results)


def compared(results: dict[str, Any]) -> Comparisons:
    """The part of the results that ``headstart compare`` has too."""
    return Comparisons.model_validate({key: results[key] for key in Comparisons.model_fields})


def explained(results: dict[str, Any]) -> Explanations:
    """What was measured of where the networks look."""
    found = typed(results).explanations
    assert found is not None
    return found


def build(knobs: Knobs | None = None) -> dict[str, Any]:
    """A whole ``results.json`` as a dict.

    ``pretrained`` only says whose watched pretraining is in it: each costs five panels to draw.
    """
    knobs = knobs or Knobs()
    rng = np.random.default_rng(knobs.draw)
    arms = [
        _arm(knobs, rng, method, protocol, seed, fraction)
        for fraction in knobs.fractions
        for method, protocol in ARMS
        for seed in range(knobs.seeds)
    ]
    return {
        "schema": 1,
        "title": "bags",
        "data": _data(knobs),
        "study": _study(knobs),
        "arms": arms,
        "pretraining": _pretraining(knobs, rng),
        "gates": _gates(knobs),
        "comparisons": _comparisons(knobs, arms),
        "method_pairs": _method_pairs(knobs, arms),
        "area_differences": _areas(knobs),
        "label_saving": _savings(knobs),
        "attribution_similarity": _similarity(knobs, rng),
        "explained": _explained(knobs, rng),
        "explanations": _explanations(knobs),
        "shown": _shown(knobs, arms),
        "warnings": ["The pool holds 12 images smaller than 64 pixels."],
        "provenance": _provenance(),
    }


def draw_pictures(results: dict[str, Any], run: Path) -> None:
    """Write a small picture at every path the explained images name."""
    rng = np.random.default_rng(1)
    for image in (results["shown"] or {"images": []})["images"]:
        _picture(run / image["photo"], rng, heat=False)
    for image in results["explained"]:
        _picture(run / image["photo"], rng, heat=False)
        for arm in image["arms"]:
            for path in arm["maps"].values():
                _picture(run / path, rng, heat=True)


def _picture(path: Path, rng: np.random.Generator, *, heat: bool) -> None:
    from PIL import Image

    y, x = np.mgrid[0:96, 0:96] / 95
    bag = (np.abs(x - 0.5) < 0.3) & (y > 0.4) & (y < 0.85)
    handle = np.abs(np.hypot((x - 0.5) / 0.2, (y - 0.4) / 0.25) - 1) < 0.15
    base = np.full((96, 96, 3), 236.0)
    base[bag | (handle & (y < 0.4))] = rng.uniform(60, 170, 3)
    if heat:
        cx, cy = rng.uniform(0.3, 0.7, 2)
        warm = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.03)[..., None]
        base = base.mean(2, keepdims=True) * (1 - 0.8 * warm) + warm * np.array([255.0, 120, 20])
    pixels = np.clip(base + rng.normal(0, 4, base.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def _labels(knobs: Knobs, fraction: float) -> int:
    return max(5 * len(knobs.classes), round(4 * knobs.per_class * len(knobs.classes) * fraction))


def _skill(method: str, protocol: str, fraction: float) -> float:
    ease = 0.30 + 0.32 * (1 + np.log10(max(fraction, 0.01)) / 2)
    if method == "random":
        return 0.30 if protocol == "linear" else 0.26
    head = {"linear": -0.05, "knn": -0.11}.get(protocol, 0.0)
    return float(ease + head + LIFT.get(method, 0.0) * (2.2 - 1.2 * fraction))


def _confusion(knobs: Knobs, rng: np.random.Generator, skill: float) -> np.ndarray:
    k, n = len(knobs.classes), knobs.per_class
    matrix = np.zeros((k, k), dtype=int)
    for i in range(k):
        right = np.clip(skill + 0.12 * np.cos(1.7 * i), 0.05, 0.97)
        near = np.exp(-0.5 * np.abs(np.arange(k) - i))
        near[i] = 0
        shares = near / near.sum() * (1 - right)
        shares[i] = right
        matrix[i] = rng.multinomial(n, shares)
    return matrix


def _arm(
    knobs: Knobs,
    rng: np.random.Generator,
    method: str,
    protocol: str,
    seed: int,
    fraction: float,
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "method": method,
        "protocol": protocol,
        "seed": seed,
        "label_fraction": fraction,
        "labels": _labels(knobs, fraction),
        "status": "ok",
        "reason": None,
        "metrics": None,
        "intervals": None,
        "confusion_matrix": None,
        "per_class": None,
        "chance": None,
        "chosen": {},
        "compute": None,
    }
    if method == knobs.collapsed:
        reason = "pretraining collapsed at epoch 4: std ratio 0.03 on three checks"
        return {**record, "status": "collapsed", "reason": reason}
    if method == "majority":
        matrix = np.zeros((len(knobs.classes),) * 2, dtype=int)
        matrix[:, 0] = knobs.per_class
    else:
        matrix = _confusion(knobs, rng, _skill(method, protocol, fraction))
    return {
        **record,
        **_measured(knobs, matrix, method),
        "chosen": _chosen(method, protocol, seed),
        "compute": {
            "pretrain_images": 35840 if method in LIFT else 0,
            "train_images": 0 if method == "majority" else 12000,
            "train_steps": 400 if protocol in ("finetune", "supervised") else 0,
        },
        "confidence": _confidence(float(np.diag(matrix).sum() / matrix.sum()), seed),
    }


def _confidence(accuracy: float, seed: int) -> dict[str, Any]:
    """Too confident by 10 points, corrected by a temperature, and better where it may abstain."""

    def interval(value: float) -> dict[str, Any]:
        return {"value": value, "low": max(0.0, value - 0.03), "high": min(1.0, value + 0.03)}

    return {
        "validation_images": 45,
        "temperature": 1.5 + 0.1 * seed,
        "before": {**interval(0.1), "by_chance": 0.02},
        "after": {**interval(0.04 + 0.01 * seed), "by_chance": 0.03},
        "accuracy": [
            {"coverage": share, "accuracy": interval(min(1.0, accuracy + 0.2 * (1 - share)))}
            for share in (1.0, 0.9, 0.8, 0.5)
        ],
    }


def _chosen(method: str, protocol: str, seed: int) -> dict[str, Any]:
    if protocol in ("linear", "knn"):
        return {"strength": 0.01}
    if method == "majority":
        return {}
    late = method == "supervised" and seed == 1
    return {"lr": 0.03, "weight_decay": 1e-4, "best_epoch": 12, "converged": not late}


def _measured(knobs: Knobs, matrix: np.ndarray, method: str) -> dict[str, Any]:
    rows, columns, right, n = matrix.sum(1), matrix.sum(0), np.diag(matrix), matrix.sum()
    recall = right / rows
    precision = right / np.maximum(columns, 1)
    f1 = 2 * right / (rows + columns)
    accuracy = right.sum() / n
    guess = (rows * columns).sum() / n**2
    metrics = {
        "accuracy": accuracy,
        "balanced_accuracy": recall.mean(),
        "macro_f1": f1.mean(),
        "kappa": (accuracy - guess) / (1 - guess),
    }
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / n)
    return {
        "metrics": {name: float(value) for name, value in metrics.items()},
        "intervals": {
            name: [float(max(0, value - half)), float(min(1, value + half))]
            for name, value in metrics.items()
        },
        "confusion_matrix": matrix.tolist(),
        "per_class": [
            {
                "class": name,
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "recall_interval": _wilson(int(right[i]), int(rows[i])),
                "f1": float(f1[i]),
                "support": int(rows[i]),
            }
            for i, name in enumerate(knobs.classes)
        ],
        "chance": {
            "p": 1.0 if method == "majority" else 1e-4,
            "beats_chance": method != "majority",
        },
    }


def _wilson(k: int, n: int) -> list[float]:
    z, share = 1.96, k / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [float(max(0.0, centre - half)), float(min(1.0, centre + half))]


def _data(knobs: Knobs) -> dict[str, Any]:
    k, n = len(knobs.classes), knobs.per_class
    return {
        "unlabeled": "photos/",
        "labeled": "bags/",
        "counts": {
            "pool": 1900,
            "pool_from_train": 3 * n * k,
            "train": 3 * n * k,
            "validation": n * k,
            "test": n * k,
        },
        "classes": [
            {"name": name, "train": 3 * n, "validation": n, "test": n} for name in knobs.classes
        ],
        "split": "made",
        "removed": {
            "unreadable": 2,
            "pool_copies_of_test": 1,
            "pool_copies_of_validation": 0,
            "pool_duplicates": 3,
            "conflicting_labels": 0,
        },
        "quarantine": "quarantine.csv",
        "detectable_difference": 0.065,
    }


def _study(knobs: Knobs) -> dict[str, Any]:
    return {
        "encoder": {"backbone": "resnet18", "image_size": 96},
        "pretrain": {"methods": ["moco", "simclr", "simsiam", "byol"], "epochs": 20, "batch": 128},
        "classify": {"fractions": list(knobs.fractions), "seeds": list(range(knobs.seeds))},
        "compare": {"metric": "balanced_accuracy", "margin": 0.02},
    }


def _pretraining(knobs: Knobs, rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        _run(knobs, rng, method, seed) for method in knobs.pretrained for seed in range(knobs.seeds)
    ]


def _run(knobs: Knobs, rng: np.random.Generator, method: str, seed: int) -> dict[str, Any]:
    lost = method == knobs.collapsed
    epochs = 4 if lost else 20
    start, end, floor = {
        "moco": (8.3, 6.9, 8.318),
        "simclr": (5.5, 4.1, 5.541),
        "simsiam": (-0.1, -0.9, -1.0),
        "byol": (1.9, 0.3, 0.0),
    }[method]
    history = []
    for epoch in range(epochs + 1):
        t = epoch / 20
        noise = float(rng.normal(0, 0.02))
        loss = start + (end - start) * (1 - np.exp(-4 * t)) + noise
        history.append(
            {
                "step": epoch * 14,
                "epoch": epoch,
                "loss": -1 + 0.5 * np.exp(-2.0 * epoch) if lost else float(loss),
                "lr": 0.05 * min(1.0, epoch / 3) * 0.5 * (1 + float(np.cos(np.pi * t))),
                "std_ratio": 0.9 * np.exp(-epoch) if lost else 0.55 + 0.4 * t + noise,
                "effective_rank": 40 * np.exp(-epoch) + 1 if lost else 22 + 40 * t + 20 * noise,
                "mean_cosine": 0.99 if lost else 0.2,
                "knn": 0.21 if lost else (0.24 + 0.2 * t + noise if epoch % 2 == 0 else None),
                "gradient_norm": 0.4,
            }
        )
    reason = "std ratio below 0.1 on three checks in a row" if lost else None
    warnings = ["The effective rank fell below 5 % of its limit."] if method == "byol" else []
    return {
        "method": method,
        "seed": seed,
        "status": "collapsed" if lost else "ok",
        "reason": reason,
        "warnings": warnings if seed == 0 else [],
        "epochs": 20,
        "steps": 14 * epochs,
        "images_seen": 14 * epochs * 128,
        "start": f"{seed:064x}",
        "history": history,
        "loss_floor": floor,
        "knn_random": 0.21 + 0.005 * seed,
    }


def _comparisons(knobs: Knobs, arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = []
    for fraction in knobs.fractions:
        score = {
            (a["method"], a["protocol"]): a["metrics"]["balanced_accuracy"]
            for a in arms
            if a["label_fraction"] == fraction and a["seed"] == 0 and a["metrics"]
        }
        base = score["supervised", "supervised"]
        for (method, protocol), value in score.items():
            if protocol in ("finetune", "linear") and method != "random":
                made.append(_comparison(knobs, f"{method}/{protocol}", fraction, value - base))
        if ("simclr", "linear") in score:
            other = _comparison(
                knobs,
                "simclr/linear",
                fraction,
                score["simclr", "linear"] - score["random", "linear"],
            )
            made.append({**other, "arm_b": "random/linear"})
    return made


def _comparison(knobs: Knobs, arm: str, fraction: float, difference: float) -> dict[str, Any]:
    low, high = difference - 0.045, difference + 0.045
    verdict = "better" if low > 0 else "worse" if high < 0 else "can't tell"
    ends = f"{100 * low:+.1f} to {100 * high:+.1f}".replace("-", "−")
    told = {
        "better": f"better by {100 * difference:.1f} points (95 % interval {ends})",
        "worse": f"worse by {-100 * difference:.1f} points (95 % interval {ends})",
        "can't tell": f"the data fit anything from {ends} points; to see a 2-point difference "
        "you would need about 1900 test images",
    }[verdict]
    n = knobs.per_class * len(knobs.classes)
    scope = f"for this data set, this backbone, {knobs.seeds} seeds, {n} test images"
    return {
        "arm_a": arm,
        "arm_b": "supervised/supervised",
        "metric": "balanced_accuracy",
        "fraction": fraction,
        "difference": difference,
        "low": low,
        "high": high,
        "p": 0.3 if verdict == "can't tell" else 0.0002,
        "p_holm": 0.6 if verdict == "can't tell" else 0.0008,
        "seeds": knobs.seeds,
        "n": n,
        "verdict": verdict,
        "sentence": f"{told}; {scope}.",
        "discordant": [14, 9] if knobs.seeds == 1 else None,
        "p_mcnemar": 0.31 if knobs.seeds == 1 else None,
    }


def _gates(knobs: Knobs) -> list[dict[str, Any]]:
    def row(gate: str, name: str, arm: str | None, result: str, reason: str) -> dict[str, Any]:
        return {"gate": gate, "name": name, "arm": arm, "result": result, "reason": reason}

    fails = knobs.collapsed is not None
    why = "pretraining collapsed or failed: seed 0: std ratio 0.03" if fails else "1 of 1 seeds"
    return [
        row("G1", "test images apart from training", None, "PASS", "180 test images"),
        row("G2", "scores do not depend on the batch", "moco/linear", "PASS", "largest change 0"),
        row("G7", "no collapse", knobs.collapsed or "moco", "FAIL" if fails else "PASS", why),
        row("G9", "shuffled labels stay at chance", None, "NOT RUN", "no linear head was fitted"),
    ]


def _method_pairs(knobs: Knobs, arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    methods = [m for m in ("moco", "simclr", "byol") if m != knobs.collapsed]
    return [
        {**_comparison(knobs, f"{a}/finetune", fraction, 0.01), "arm_b": f"{b}/finetune"}
        for fraction in knobs.fractions
        for i, a in enumerate(methods)
        for b in methods[i + 1 :]
    ]


def _areas(knobs: Knobs) -> list[dict[str, Any]]:
    if len(knobs.fractions) < 2:
        return []
    row = _comparison(knobs, "simclr/finetune", 1.0, 0.06)
    for key in ("fraction", "discordant", "p_mcnemar"):
        del row[key]
    return [{**row, "fractions": list(knobs.fractions), "sentence": "Over all label counts."}]


def _savings(knobs: Knobs) -> list[dict[str, Any]]:
    known = {"needed": 540.4, "low": 380.2, "high": None, "censored": None, "quotable": True}
    beyond = {"needed": None, "low": 700.0, "high": None, "censored": "above", "quotable": False}
    return [
        {
            "arm_a": "simclr/finetune",
            "arm_b": "supervised/supervised",
            "fraction": fraction,
            "labels": _labels(knobs, fraction),
            **(known if i == 0 else beyond),
            "seeds": knobs.seeds,
            "n": knobs.per_class * len(knobs.classes),
            "sentence": f"With {100 * fraction:.3g} % of your labels SimCLR saves roughly 3.9×.",
        }
        for i, fraction in enumerate(sorted(knobs.fractions)[:-1])
    ]


def _similarity(knobs: Knobs, rng: np.random.Generator) -> list[dict[str, Any]]:
    pairs = [("simclr/finetune", "supervised/supervised"), ("moco/finetune", "simclr/finetune")]
    return [
        _similarity_row(knobs, rng, pair, about)
        for pair in pairs
        for about in [
            (attribution, target, answers)
            for attribution in ("saliency", "integrated_gradients")
            for target in ("true class", "own prediction")
            for answers in ("all", "both right", "one right", "both wrong")
        ]
    ]


def _similarity_row(
    knobs: Knobs,
    rng: np.random.Generator,
    pair: tuple[str, str],
    about: tuple[str, str, str],
) -> dict[str, Any]:
    attribution, target, answers = about
    measures = {"rmse": 0.18, "spearman": 0.41, "top_iou": 0.22, "pearson": 0.44}
    measures["ssim"] = float(0.35 + 0.05 * rng.random())
    row = {
        "arm_a": pair[0],
        "arm_b": pair[1],
        "seeds": list(range(min(2, knobs.seeds))),
        "attribution": attribution,
        "target": target,
        "answers": answers,
        **measures,
        "images": 32,
        "left_out": 1,
    }
    if (target, answers) != ("true class", "all"):
        return row
    null = {"rmse": 0.24, "ssim": 0.27, "spearman": 0.15, "top_iou": 0.1, "pearson": 0.02}
    two = knobs.seeds > 1
    return {
        **row,
        "nulls": {
            "floor": null,
            "shuffled": null,
            "edges": dict.fromkeys(null),
            "ceiling": {**null, "spearman": 0.6} if two else None,
        },
        "calibrated": {
            "value": 0.58 if two else None,
            "low": 0.52 if two else None,
            "high": 0.66 if two else None,
            "images": 32,
            "null": "untrained",
        },
        "verdict": "same" if two else "no_ceiling",
        "sentence": "these two look at the same things" if two else "can't tell: a second seed",
    }


def _explained(knobs: Knobs, rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for i in range(knobs.images):
        true = knobs.classes[i % len(knobs.classes)]
        arms = [
            {
                "arm": arm,
                "seed": 0,
                "predicted": true if rng.random() < 0.7 else knobs.classes[0],
                "probability": float(rng.uniform(0.3, 0.98)),
                "maps": {
                    name: f"explain/{arm.replace('/', '-')}/{name}/{i}.png"
                    for name in ("saliency", "integrated_gradients")
                },
                "scale": {"saliency": 0.013, "integrated_gradients": 1.7},
            }
            for arm in EXPLAINED
        ]
        why = ("at random", "maps most alike", "maps least alike")[i % 3]
        photo = f"explain/{i}.png"
        made.append({"id": f"{i:04x}", "true": true, "chosen": why, "photo": photo, "arms": arms})
    return made


def _shown(knobs: Knobs, arms: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Two confusions of every arm with a matrix, and maps on which classes lie on a circle."""
    if not knobs.shown:
        return None
    rng, n, k = np.random.default_rng(3), knobs.shown, len(knobs.classes)
    angle = 2 * np.pi * (np.arange(n) % k) / k
    points = 0.7 * np.stack([np.cos(angle), np.sin(angle)], 1)
    judged = {f"{a['method']}/{a['protocol']}": a for a in arms if a["confusion_matrix"]}
    pairs = [(0, 1), (1, 0)]
    return {
        "images": [
            {"id": f"t{i}", "true": knobs.classes[i % k], "photo": f"explain/t{i}.png"}
            for i in range(n)
        ],
        "confusions": [
            {
                "arm": arm,
                "true": knobs.classes[true],
                "predicted": knobs.classes[predicted],
                "count": cell["confusion_matrix"][true][predicted],
                "of": knobs.per_class,
                "shown": [i for i in range(n) if i % k == true][:4],
            }
            for arm, cell in judged.items()
            for true, predicted in pairs
        ],
        "maps": [
            {
                "method": method,
                "seed": 0,
                "shown": list(range(n)),
                "points": (points + rng.uniform(-0.2, 0.2, points.shape)).round(4).tolist(),
                "projection": "pca",
                "variance": [0.31, 0.12],
            }
            for method in ("random", "moco", "simclr", "byol")
        ],
    }


def estimate(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def _explanations(knobs: Knobs) -> dict[str, Any]:
    names = ("saliency", "integrated_gradients")
    masked = knobs.masks is not None
    return {
        "images": 33,
        "ids": [f"{i:04x}" for i in range(33)],
        "seeds": list(range(min(2, knobs.seeds))),
        "networks": [
            {"arm": arm, "seed": 0, "right": 20, "without_map": {"saliency": 1}, "reasons": []}
            for arm in EXPLAINED
        ],
        "sanity": [
            {
                "attribution": name,
                "difference": 0.2 if knobs.seeds > 1 else None,
                "low": 0.1 if knobs.seeds > 1 else None,
                "high": 0.3 if knobs.seeds > 1 else None,
                "images": 32 if knobs.seeds > 1 else 0,
                "passed": True if knobs.seeds > 1 else None,
                "complexity": estimate(0.04),
                "sentence": "the maps depend on what the network learned",
            }
            for name in names
        ],
        "faithfulness": [
            {
                "arm": arm,
                "attribution": name,
                "seed": 0,
                "images": 24,
                "deletion": estimate(0.08, 0.02),
                "insertion": estimate(0.05, 0.06),
                "sentence": f"{arm}, {name}: better than a random order by deletion only",
            }
            for arm in EXPLAINED
            for name in names
        ],
        "masks": _masks(knobs) if masked else None,
        "focus": [
            _focus(arm, name, which) for name in names for arm in EXPLAINED for which in WHICH
        ]
        if masked
        else [],
        "background": [_background(arm) for arm in EXPLAINED] if masked else [],
        "background_differences": [
            {
                "arm_a": "moco/finetune",
                "arm_b": "supervised/supervised",
                **estimate(-0.03),
                "sentence": "no difference in reliance on the background could be shown",
            }
        ]
        if masked
        else [],
        "centre": [] if masked else [_centre(arm) for arm in EXPLAINED],
        "notes": [] if masked else ["Whether they look at the object was not measured."],
    }


WHICH = ("all", "right", "wrong")


def _masks(knobs: Knobs) -> dict[str, Any]:
    rough = knobs.masks == "boxes"
    return {
        "source": "masks/",
        "test_images": 180,
        "images": 33,
        "approximate": rough,
        "area": 0.31,
        "warnings": ["33 images have a mask; fewer than 50 say little"],
        "overlays": [f"explain/{i}.png" for i in range(knobs.images)] if rough else [],
    }


def _focus(arm: str, name: str, which: str) -> dict[str, Any]:
    trained = not arm.startswith("random/")
    return {
        "arm": arm,
        "attribution": name,
        "answers": which,
        "images": 33 if which == "all" else 20,
        **{share: estimate(0.5) for share in ("rma", "rra", "pointing", "auc", "background")},
        "lift": estimate(1.61),
        "area": estimate(0.31, 0.01),
        "centre_lift": 1.9,
        "untrained_lift": 1.2,
        "against_untrained": estimate(0.41) if trained else None,
        "verdict": "more" if trained else None,
        "sentence": f"{arm}: looks at the object more" if trained else None,
    }


def _background(arm: str) -> dict[str, Any]:
    kinds = ("original", "only_fg", "only_bg", "mixed_same", "mixed_rand")
    return {
        "arm": arm,
        "seed": 0,
        "images": 180,
        "accuracy": {kind: estimate(0.6 - 0.05 * i) for i, kind in enumerate(kinds)},
        "gap": estimate(0.12),
        "paste_cost": estimate(0.04),
        "skill": estimate(0.2),
        "skill_p": 0.001,
        "follows": 0.3,
        "expected": 0.1,
        "follows_more": estimate(0.2),
        "worst_group": {
            "group": 3,
            "images": 9,
            "accuracy": 0.4,
            "expected": 0.45,
            "p": 0.3,
            "gap": 0.2,
        },
        "warnings": ["3 of 5 classes have few masks"],
        "sentence": f"{arm}: leans on the background",
    }


def _centre(arm: str) -> dict[str, Any]:
    return {
        "arm": arm,
        "seed": 0,
        "images": 33,
        "centre": estimate(0.3),
        "border": estimate(0.1),
        "difference": estimate(0.2),
        "sentence": f"{arm}: blurring the middle costs the true class more",
    }


def _provenance() -> dict[str, Any]:
    return {
        "headstart": "0.1.0",
        "versions": {"python": "3.11.9", "torch": "2.13.0", "timm": "1.0.19", "captum": None},
        "command": "headstart run photos/ bags/ --out runs/bags",
        "started": "2026-01-31T09:30:00+00:00",
        "seconds": {"pretrain/simclr-0": 412.3, "pretrain/moco-0": 398.0, "classify/all": 61.5},
        "device": "cpu",
        "machine": "8 cores, 16 GB",
    }
