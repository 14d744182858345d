"""A whole study of images whose channels are no colours: 5-channel TIFFs of 16 bits to a report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import headstart
import tiny_study
from headstart.config import Study, StudyError
from headstart.export.write import Asked, export
from headstart.finished import explain_image, predict_images, suggest_images
from headstart.methods import METHODS
from headstart.nn.encoder import weights_hash
from headstart.pipeline import check_study, run_study
from headstart.runtime.networks import load_encoder
from headstart.runtime.stored import Wanted
from headstart.stages.explain.pictures import SIDE as DRAWN
from headstart.stages.index import index
from headstart.stages.predict import Wanted as WantedClassifier
from headstart.stages.pretrain import pretrain, start
from headstart.stages.report import Outcome

CHANNELS, SIDE = 5, 40
CLASSES = ("round", "striped", "flat")


def cells(rng: np.random.Generator, kind: int) -> np.ndarray:
    """(5, S, S) uint16 of a 12-bit camera: what tells the classes is in channels 2 and 4 alone."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    values = rng.normal(400, 60, (CHANNELS, SIDE, SIDE)) * (1 + np.arange(CHANNELS))[:, None, None]
    at = rng.random(2) * 0.4 + 0.3
    blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 0.02)
    values[2] += 1500 * (blob if kind == 0 else np.sin(20 * x) ** 2 if kind == 1 else 0.3)
    values[4] += 900 * (kind == 1)
    values[1] += 500 * rng.random()
    return np.clip(values, 0, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("channels") / "cells", np.random.default_rng(0)
    for i in range(24):
        _write(folder / "unlabeled" / f"{i:02d}.tif", cells(rng, i % 3))
    for split, count in (("train", 6), ("validation", 3), ("test", 5)):
        for kind, name in enumerate(CLASSES):
            for i in range(count):
                _write(folder / "labeled" / split / name / f"{i}.tif", cells(rng, kind))
    _write(folder / "unlabeled" / "four.tif", cells(rng, 0)[:4])
    rgb = np.asarray(rng.integers(0, 255, (SIDE, SIDE, 3)), np.uint8)
    Image.fromarray(rgb).save(folder / "unlabeled" / "photo.png")
    np.save(folder / "unlabeled" / "array.npy", cells(rng, 1).transpose(1, 2, 0))
    bad = cells(rng, 1).astype(np.float32) / 4095
    bad[3, 5, 5] = np.nan
    np.save(folder / "unlabeled" / "nan.npy", bad)
    return folder


def _write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric="minisblack")


def asked(images: Path, **changes: object) -> Study:
    study = tiny_study.study(
        images,
        methods={"simclr": tiny_study.HEADS["simclr"]},
        pretrain={"epochs": 1, "batch_size": 16},
        explain={"images": 6, "pictures": 2, "faithfulness_images": 2, "replicates": 100},
        **changes,  # type: ignore[arg-type]
    )
    data = study.data.model_copy(update={"channels": CHANNELS})
    return study.model_copy(update={"data": data, "methods": {"simclr": study.methods["simclr"]}})


@pytest.fixture(scope="module")
def outcome(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_study(asked(images), tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def run(outcome: Outcome) -> Path:
    return outcome.report_path.parent


def pool(images: Path) -> np.ndarray:
    """The values that are pretrained on, as shares of 16 bits: the pool and the training images."""
    files = sorted((images / "unlabeled").glob("[0-9]*.tif"))
    files += sorted((images / "labeled" / "train").rglob("*.tif"))
    stack = [tifffile.imread(path) for path in files]
    stack.append(np.load(images / "unlabeled" / "array.npy").transpose(2, 0, 1))
    return np.stack(stack) / 65535


def test_every_protocol_has_its_scores(outcome: Outcome) -> None:
    arms = {str(arm.arm): arm.status for arm in outcome.results.arms}
    assert set(arms.values()) == {"ok"}
    assert {"simclr/linear", "simclr/knn", "simclr/finetune", "supervised/supervised"} <= set(arms)


def test_normalisation_is_that_of_the_pool(outcome: Outcome, images: Path) -> None:
    """Tiny images are not squashed here: the side of the cache is that of the files."""
    channels = outcome.results.data.channels
    assert channels is not None
    assert (channels.count, channels.value_range) == (CHANNELS, None)
    known = pool(images)
    np.testing.assert_allclose(channels.mean, known.mean(axis=(0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(channels.std, known.std(axis=(0, 2, 3)), rtol=1e-4)


def test_what_cannot_be_such_an_image_is_quarantined(run: Path) -> None:
    lines = (run / "quarantine.csv").read_text(encoding="utf8").splitlines()[1:]
    reasons = {line.split(",")[0]: line for line in lines}
    assert len(reasons) == 3
    assert "4 channels, and data.channels is 5" in reasons["unlabeled/four.tif"]
    assert "3 channels, and data.channels is 5" in reasons["unlabeled/photo.png"]
    assert "NaN" in reasons["unlabeled/nan.npy"]


def test_the_report_says_what_was_done(outcome: Outcome, run: Path) -> None:
    said = (
        "5 channels that are no colours",
        "kept in 16 bits",
        "no validation or test image is among them",
        "hue, saturation, greyscale and solarisation, which are for colours, were left out",
    )
    for name in ("report.html", "report.md", "methods.md"):
        text = (run / name).read_text(encoding="utf8")
        for words in said:
            assert words in text, (name, words)
    page = outcome.report_path.read_text(encoding="utf8")
    assert page.count("Pictures show the first channel as grey") >= 2  # features, and maps
    stored = json.loads(outcome.results_path.read_bytes())["data"]["channels"]
    assert stored["count"] == CHANNELS
    assert len(stored["mean"]) == len(stored["std"]) == CHANNELS


def test_pictures_are_the_first_channel_as_grey(outcome: Outcome, run: Path, images: Path) -> None:
    for row in outcome.results.explained:
        drawn = np.asarray(Image.open(run / row.photo).convert("RGB")).astype(float)
        assert np.ptp(drawn, axis=2).max() == 0  # grey
        # From black to white but for the drawing's own resize; unscaled, 12 bits of 16 are black.
        assert drawn.min() < 60
        assert drawn.max() > 195
        values = tifffile.imread(images / row.id).astype(np.float32)
        likeness = []
        for channel in values:
            wanted = np.asarray(Image.fromarray(channel).resize((DRAWN, DRAWN)))
            likeness.append(np.corrcoef(drawn[..., 0].ravel(), wanted.ravel())[0, 1])
        assert likeness[0] > 0.7
        assert max(likeness[1:]) < 0.4


def test_predict_gives_the_answers_of_the_run(run: Path, images: Path) -> None:
    test = images / "labeled" / "test"
    found = predict_images(run, [test, images / "unlabeled" / "four.tif"])
    assert found.reasons[-1] == "4 channels, and data.channels is 5"
    again = predict_images(run, [images / "unlabeled" / "array.npy"])
    assert not again.reasons[0]
    lines = (run / "predictions.csv").read_text(encoding="utf8").splitlines()
    header, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    arm, cell = [header.index(name) for name in ("method", "protocol")], found.cell
    said = {
        row[0]: row[header.index("prediction")]
        for row in rows
        if [row[i] for i in arm] == [cell.method, cell.protocol]
    }
    names = [Path(name).relative_to(images).as_posix() for name in found.names[:-1]]
    answers = [found.classes[i] for i in found.predicted[:-1]]
    assert answers == [said[name] for name in names]


def test_suggest_reads_and_draws_channels(run: Path, tmp_path: Path) -> None:
    found = suggest_images(run, 3, tmp_path / "out")
    assert len(found.positions) == 3
    sheet = np.asarray(Image.open(tmp_path / "out" / "sheet.jpg").convert("L"))
    assert sheet.std() > 20


def test_explain_shows_one_file(run: Path, images: Path, tmp_path: Path) -> None:
    file = images / "labeled" / "test" / "round" / "0.tif"
    found = explain_image(run, file)
    assert found.sheet.is_file()
    with np.load(found.arrays) as stored:
        assert stored["picture"].shape == (CHANNELS, 32, 32)
    shutil.copy(images / "unlabeled" / "photo.png", tmp_path / "photo.png")
    with pytest.raises(StudyError, match=r"3 channels, and data.channels is 5"):
        explain_image(run, tmp_path / "photo.png")


def test_a_stored_encoder_normalises_as_the_run_did(outcome: Outcome, run: Path) -> None:
    encoder = headstart.load_encoder(run, "simclr")
    channels = outcome.results.data.channels
    assert channels is not None
    x = torch.rand(2, CHANNELS, 32, 32)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (channels.mean, channels.std))
    with torch.inference_mode():
        torch.testing.assert_close(encoder(x), encoder.body((x - mean) / std))


def test_features_of_paths_are_those_of_predict(run: Path, images: Path) -> None:
    paths = sorted((images / "labeled" / "test").rglob("*.tif"))[:4]
    found = headstart.Encoder(run, "simclr").fit().transform(paths)
    known = predict_images(run, paths, WantedClassifier("simclr/linear")).features
    np.testing.assert_allclose(found, known, rtol=1e-4, atol=1e-5)
    with pytest.raises(StudyError, match="channels that are no colours; give paths"):
        headstart.Encoder(run, "simclr").fit().transform([Image.new("RGB", (9, 9))])


@pytest.mark.parametrize("to", ["timm", "safetensors", "onnx"])
@pytest.mark.parametrize("protocol", [None, "linear"])
def test_export_carries_channels_and_normalisation(
    to: str, protocol: str | None, outcome: Outcome, run: Path, tmp_path: Path
) -> None:
    channels = outcome.results.data.channels
    assert channels is not None
    record = export(Asked(run, Wanted("simclr", protocol=protocol), to, tmp_path / "out"))
    assert record.preprocessing.mean == channels.mean
    assert record.preprocessing.std == channels.std
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf8")
    assert "all 5 channels" in card
    if to == "timm":
        import timm

        model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
        own = headstart.load_encoder(run, "simclr").body.state_dict()
        theirs = model.state_dict()
        assert all(torch.equal(theirs[name], weights) for name, weights in own.items())


@pytest.mark.parametrize("to", ["torchvision", "hf"])
def test_export_to_a_library_of_three_channels_is_refused(
    to: str, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        StudyError, match=r"no model of that name|takes images of 3 channels"
    ) as said:
        export(Asked(run, Wanted("simclr"), to, tmp_path / "out"))
    assert "\n" not in str(said.value)
    assert not (tmp_path / "out").exists()


def test_check_says_it_too(images: Path, tmp_path: Path) -> None:
    card, path = check_study(asked(images), tmp_path / "check")
    assert any("5 channels that are no colours" in line for line in card.lines)
    assert json.loads(path.read_bytes())["data"]["channels"]["count"] == CHANNELS


def test_test_images_are_no_part_of_the_normalisation(images: Path, tmp_path: Path) -> None:
    """Other values in the test and validation files change nothing of it."""
    other = tmp_path / "cells"
    shutil.copytree(images, other)
    for part in ("validation", "test"):
        for path in (other / "labeled" / part).rglob("*.tif"):
            tifffile.imwrite(path, 65535 - tifffile.imread(path), photometric="minisblack")
    before = check_study(asked(images), tmp_path / "before")[0].data.channels
    after = check_study(asked(other), tmp_path / "after")[0].data.channels
    assert before is not None
    assert before == after


def test_fetched_weights_for_three_channels_are_refused(images: Path, tmp_path: Path) -> None:
    study = asked(images)
    encoder = study.encoder.model_copy(update={"weights": "pretrained"})
    with pytest.raises(StudyError, match="for images of 3 channels, not 5") as said:
        run_study(study.model_copy(update={"encoder": encoder}), tmp_path / "run")
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_on_channels(method: str, images: Path, tmp_path: Path) -> None:
    study = asked(images).model_copy(update={"methods": {method: dict(METHODS[method].tiny)}})
    run = tiny_study.open_run(study, tmp_path / "run")
    data = index(run)
    begin = start(run, 0, "random")
    entry = pretrain(run, data, method, 0, begin)
    assert entry.info["status"] in ("ok", "collapsed")
    losses = [moment["loss"] for moment in entry.info["history"] if moment["loss"] is not None]
    assert losses
    assert np.isfinite(losses).all()
    first, last = (weights_hash(load_encoder(run, one, data)) for one in (begin, entry))
    assert first != last
