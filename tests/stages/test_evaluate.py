"""Predictions that depend on the image alone, and scores that scikit-learn agrees with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

import tiny_study
from headstart.arms import MAJORITY, Arm
from headstart.data.splits import label_budget
from headstart.methods.supervised import Supervised
from headstart.runtime.heads import knn
from headstart.runtime.networks import load_encoder, load_network, outputs
from headstart.runtime.run import Cell, Dataset, Run
from headstart.stages.classify import classify
from headstart.stages.evaluate import confidence, evaluate, score
from headstart.stages.extract import extract
from headstart.stages.pretrain import start
from headstart.stages.report import Outcome
from headstart.stats.confidence import calibration_error, fit_temperature
from headstart.types import Features, Floats, Ints, Predictions
from tiny_study import Reopened

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def study_again(finished: Outcome, finished_study: object) -> Reopened:
    return Reopened.of(finished_study, finished.results_path.parent)  # type: ignore[arg-type]


# --- batch invariance (gate G2) ------------------------------------------------------------------


def agrees(ask: Callable[[Ints], Floats], positions: Ints, wanted: Floats) -> bool:
    """Whether the same logits come sorted, shuffled and one by one (G2's limits)."""
    shuffled = np.random.default_rng(0).permutation(len(positions))
    back = np.argsort(shuffled)
    ways = [ask(positions), ask(positions[shuffled])[back]]
    ways.append(np.concatenate([ask(positions[i : i + 1]) for i in range(len(positions))]))
    limit = 1e-3 * wanted.std()
    return all(
        np.abs(got - wanted).max() <= limit and np.array_equal(got.argmax(1), wanted.argmax(1))
        for got in ways
    )


@pytest.mark.parametrize(
    ("method", "protocol"),
    [("moco", "linear"), ("byol", "finetune"), ("supervised", "supervised"), ("random", "linear")],
)
def test_logits_do_not_depend_on_the_other_images(
    method: str, protocol: str, study_again: Reopened
) -> None:
    run, data = study_again.run, study_again.data
    cell = Cell(Arm(method, protocol), 0, 1.0)
    encoder, _, entry = study_again.classifier(cell)
    network = load_network(run, data, cell, entry, encoder)
    wanted = study_again.predictions(cell).logits
    test = data.index.where("test")
    assert agrees(lambda at: outputs(network, data.images(at)).numpy(), test, wanted)

    def in_training_mode(at: Ints) -> Floats:
        network.train()
        with torch.no_grad():
            return network(data.images(at).centred(np.arange(len(at)))).numpy()

    pairs = test[: 2 * (len(test) // 2)]  # BatchNorm cannot take one image in training mode
    forward = in_training_mode(pairs)
    assert np.abs(forward - wanted[: len(pairs)]).max() > 1e-3 * wanted.std()  # the test can fail


def test_knn_does_not_depend_on_the_other_images(study_again: Reopened) -> None:
    run, data = study_again.run, study_again.data
    cell = Cell(Arm("simsiam", "knn"), 0, 1.0)
    encoder, extracted, _ = study_again.classifier(cell)
    known = Features.load(extracted.folder)
    budget, backbone = label_budget(data.index, 1.0, 0), load_encoder(run, encoder)

    def ask(at: Ints) -> Floats:
        x = outputs(backbone, data.images(at)).numpy()
        ids, rest = data.index.ids[at], data.index.ids[budget.train]
        others = known.take(rest)
        joined = Features(
            np.concatenate([rest, ids]),
            np.concatenate([others.x, x]),
            np.concatenate([others.y, data.index.labels[at]]),
        )
        return knn(run, joined, budget, data, ids)

    wanted = study_again.predictions(cell).logits
    assert agrees(ask, data.index.where("test"), wanted)


def test_evaluation_asks_a_network_in_evaluation_mode_and_leaves_it_as_it_was(
    tmp_path: Path,
) -> None:
    run = tiny_study.open_run(tiny_study.study(encoder={"image_size": 16}), tmp_path)
    data = tiny_study.made_data(run, pool=4)
    network = Supervised(load_encoder(run, start(run, 0, "random")), 3)
    network.train()
    frozen = next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    frozen.eval()
    seen: list[tuple[bool, bool, bool]] = []
    for module in network.modules():
        module.register_forward_pre_hook(
            lambda m, _: seen.append(
                (m.training, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"))
            )
        )
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        outputs(network, data.images(data.index.where("test")))
    assert len(seen) > 10
    assert set(seen) == {(False, False, False)}
    assert not frozen.training
    assert network.training
    assert all(m.training for m in network.modules() if m is not frozen)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_many_images_are_asked_in_parts_that_join(tmp_path: Path) -> None:
    run = tiny_study.open_run(tiny_study.study(), tmp_path)
    data = tiny_study.made_data(run, pool=520)
    network = tiny_study.small_encoder().eval()
    everything = np.arange(len(data.index.ids))
    got = outputs(network, data.images(everything))
    at_once = network(data.images(everything).centred(everything)).detach()
    torch.testing.assert_close(got, at_once)
    half = outputs(network, data.images(everything), lambda x: network(x) * 2)
    torch.testing.assert_close(half, at_once * 2)


# --- permuted labels (gate G9) -------------------------------------------------------------------


def coloured(run: Run, *, permuted: int | None = None) -> Dataset:
    """Made images whose colour is their class's; ``permuted`` mixes the labels one may learn."""
    data = tiny_study.made_data(run, pool=4, train=12, held_out=12, classes=4)
    labels = data.index.labels.copy()
    colours = np.array([[40, 90, 200], [200, 60, 60], [60, 200, 90], [220, 210, 60]])
    labelled = data.index.where("train", "validation", "test")
    noise = np.random.default_rng(1).integers(-25, 25, (len(labelled), 3, 40, 40))
    pixels = colours[labels[labelled]][:, :, None, None] + noise
    data.cache.pixels[data.index.rows[labelled]] = pixels.astype(np.uint8)
    if permuted is not None:
        rng = np.random.default_rng(permuted)
        for split in ("train", "validation"):
            mine = data.index.where(split)
            data.index.labels[mine] = rng.permutation(labels[mine])
    return data


def accuracies(folder: Path, protocol: str, permuted: int | None) -> float:
    asked = tiny_study.study(
        encoder={"image_size": 16},
        classify={"finetune": {"epochs": 8, "lrs": [0.1], "batch_size": 16}},
    )
    run = tiny_study.open_run(asked, folder / f"{protocol}-{permuted}")
    data = coloured(run, permuted=permuted)
    encoder = start(run, 0, "random")
    features = extract(run, data, encoder, "random")
    cell = Cell(Arm("simclr", protocol), 0, 1.0)
    entry = classify(run, data, [cell], encoder, features)[cell]
    done = evaluate(run, data, cell, entry, (encoder, features))
    accuracy = done.info["metrics"]["accuracy"]
    assert isinstance(accuracy, float)
    return accuracy


@pytest.mark.parametrize(("protocol", "draws"), [("linear", 6), ("knn", 10), ("finetune", 4)])
def test_permuted_labels_give_chance(protocol: str, draws: int, tmp_path: Path) -> None:
    """The true labels are learnt; mixed ones cannot be, unless test labels leak somewhere."""
    assert accuracies(tmp_path, protocol, None) > 0.8
    mixed = [accuracies(tmp_path, protocol, draw) for draw in range(draws)]
    # All images of a colour are answered alike, so a draw is about four fair guesses out of four.
    spread = np.sqrt(0.25 * 0.75 / (4 * draws))
    assert abs(np.mean(mixed) - 0.25) < 3.5 * spread


# --- scores --------------------------------------------------------------------------------------


def test_scores_equal_scikit_learns_on_the_stored_predictions(
    finished: Outcome, study_again: Reopened
) -> None:
    from sklearn import metrics

    names = [c["name"] for c in finished.results.to_json()["data"]["classes"]]
    for arm in finished.results.to_json()["arms"]:
        cell = Cell(Arm(arm["method"], arm["protocol"]), arm["seed"], arm["label_fraction"])
        stored = study_again.predictions(cell)
        y, said = stored.y, stored.predicted
        assert np.array_equal(
            stored.ids, study_again.data.index.ids[study_again.data.index.where("test")]
        )
        expected = {
            "accuracy": metrics.accuracy_score(y, said),
            "balanced_accuracy": metrics.balanced_accuracy_score(y, said),
            "macro_f1": metrics.f1_score(y, said, average="macro", zero_division=0),
            "kappa": metrics.cohen_kappa_score(y, said),
        }
        assert arm["metrics"] == pytest.approx(expected, abs=1e-12)
        matrix = metrics.confusion_matrix(y, said, labels=range(len(names)))
        assert arm["confusion_matrix"] == matrix.tolist()
        each = metrics.precision_recall_fscore_support(
            y, said, labels=range(len(names)), zero_division=0
        )
        for c, row in enumerate(arm["per_class"]):
            assert row["class"] == names[c]
            got = [row["precision"], row["recall"], row["f1"], row["support"]]
            assert got == pytest.approx([column[c] for column in each])
            low, high = row["recall_interval"]
            assert 0 <= low <= row["recall"] <= high <= 1
        for name, value in arm["metrics"].items():
            low, high = arm["intervals"][name]
            assert low <= value <= high


@pytest.mark.parametrize(
    ("method", "protocol"),
    [
        ("majority", "majority"),
        ("simsiam", "knn"),
        ("moco", "linear"),
        ("byol", "finetune"),
    ],
)
def test_the_temperature_is_that_of_the_budgets_validation_images(
    method: str, protocol: str, finished: Outcome, study_again: Reopened
) -> None:
    """The logits of the validation images, asked anew by hand, give what the results hold."""
    run, data = study_again.run, study_again.data
    cell = Cell(Arm(method, protocol), 0, 0.5)
    (arm,) = (
        a for a in finished.results.arms if (a.arm, a.seed, a.label_fraction) == (cell.arm, 0, 0.5)
    )
    budget = label_budget(data.index, 0.5, 0)
    at, y = budget.validation, data.index.labels[budget.validation]
    assert not set(at) & set(data.index.where("test"))
    encoder, extracted, entry = study_again.classifier(cell)
    if protocol == "majority":
        logits = np.tile(study_again.predictions(cell).logits[:1], (len(at), 1))
    elif protocol == "knn":
        logits = knn(run, Features.load(extracted.folder), budget, data, data.index.ids[at])
    else:
        logits = outputs(load_network(run, data, cell, entry, encoder), data.images(at)).numpy()
    found = arm.confidence
    assert found is not None
    assert found.validation_images == len(at)
    assert found.temperature == pytest.approx(fit_temperature(logits, y), rel=1e-3)
    test = study_again.predictions(cell)
    assert found.accuracy[0].accuracy.value == pytest.approx((test.predicted == test.y).mean())
    shares = softmax(test.logits.astype(float), axis=1).max(axis=1)
    error = calibration_error(shares, test.predicted == test.y)
    assert found.before.value == pytest.approx(error, abs=1e-9)


def test_test_labels_do_not_move_the_temperature() -> None:
    rng = np.random.default_rng(0)
    ids, y = np.array([f"{i}" for i in range(60)]), rng.integers(0, 3, 60)
    logits = (3 * rng.normal(size=(60, 3))).astype(np.float32)
    validation = Predictions(ids, logits, y)
    one, other = (
        confidence(Predictions(ids, logits, labels), validation, 50)
        for labels in (y, rng.permutation(y))
    )
    assert one.temperature == other.temperature
    assert one.before != other.before


def test_a_perfect_and_a_blind_classifier() -> None:
    y = np.repeat(np.arange(3), 10)
    ids = np.array([f"{i}" for i in range(30)])
    perfect = score(Predictions(ids, np.eye(3, dtype=np.float32)[y], y), ["a", "b", "c"], 300)
    assert perfect.metrics.model_dump() == {
        "balanced_accuracy": 1,
        "macro_f1": 1,
        "accuracy": 1,
        "kappa": 1,
    }
    assert perfect.chance.beats_chance
    blind = score(Predictions(ids, np.zeros((30, 3), np.float32), y), ["a", "b", "c"], 300)
    assert blind.metrics.balanced_accuracy == pytest.approx(1 / 3)
    assert blind.metrics.kappa == 0
    assert blind.chance.model_dump() == {"p": 1.0, "beats_chance": False}


def test_the_constant_answer_is_the_largest_class_of_the_labels(tmp_path: Path) -> None:
    run = tiny_study.open_run(tiny_study.study(encoder={"image_size": 16}), tmp_path)
    data = tiny_study.made_data(run, pool=4, train=8)
    labels, train = data.index.labels, data.index.where("train")
    data.index.splits[train[labels[train] == 0][3:]] = "pool"  # 3, 8 and 5 images
    data.index.splits[train[labels[train] == 2][5:]] = "pool"
    encoder = start(run, 0, "random")
    cell = Cell(MAJORITY, 0, 1.0)
    entry = classify(run, data, [cell], encoder, encoder)[cell]
    done = evaluate(run, data, cell, entry, (encoder, encoder))
    stored = Predictions.load(done.folder)
    assert set(stored.predicted.tolist()) == {1}
    np.testing.assert_allclose(np.exp(stored.logits[0]), [3 / 16, 8 / 16, 5 / 16], rtol=1e-5)
    assert done.info["metrics"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert not done.info["chance"]["beats_chance"]


def test_softmax_of_a_network_ignores_nothing(study_again: Reopened) -> None:
    """The stored logits are those of the stored network, asked anew by hand."""
    run, data = study_again.run, study_again.data
    cell = Cell(Arm("simclr", "finetune"), 0, 0.5)
    encoder, _, entry = study_again.classifier(cell)
    network = load_network(run, data, cell, entry, encoder)
    test = data.index.where("test")
    x: Tensor = data.images(test).centred(np.arange(len(test)))
    with torch.no_grad():
        by_hand = network.head(
            network.encoder.body((x - network.encoder.mean) / network.encoder.std)
        )
    np.testing.assert_allclose(
        study_again.predictions(cell).logits, by_hand.numpy(), rtol=1e-4, atol=1e-5
    )
