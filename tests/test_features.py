"""``headstart.Encoder``: the features of the run, as scikit-learn asks for them."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

import headstart
import tiny_study
from headstart.arms import Arm
from headstart.runtime.run import Cell
from headstart.stages.report import Outcome
from headstart.types import Features


@pytest.fixture(scope="module")
def run(finished: Outcome) -> Path:
    return finished.results_path.parent


@pytest.fixture(scope="module")
def paths(bags: Path) -> list[Path]:
    return sorted((bags / "labeled" / "test").rglob("*.jpg"))[:12]


def classes(paths: list[Path]) -> list[str]:
    return [path.parent.name for path in paths]


def opened(paths: list[Path]) -> list[Image.Image]:
    pictures = []
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            pictures.append(picture)
    return pictures


def test_features_are_those_of_the_run(finished_study: headstart.Study, run: Path) -> None:
    reopened = tiny_study.Reopened.of(finished_study, run)
    for method in ("simclr", "random"):
        entry = reopened.classifier(Cell(Arm(method, "linear"), 0, 1.0))[1]
        stored = Features.load(entry.folder)
        index = reopened.data.index
        places = dict(zip(index.ids.tolist(), index.paths.tolist(), strict=True))
        files = [places[identity] for identity in stored.ids.tolist()]
        found = headstart.Encoder(run, method).fit_transform(files)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, stored.x, rtol=0, atol=1e-5 * np.abs(stored.x).max())


def test_paths_pictures_and_arrays_are_alike(run: Path, paths: list[Path]) -> None:
    encoder = headstart.Encoder(run).fit()
    found = encoder.transform(paths)
    pictures = opened(paths)
    frame = np.array([[str(path)] for path in paths], dtype=object)
    for same in (list(map(str, paths)), np.array(list(map(str, paths))), pictures, frame):
        np.testing.assert_allclose(encoder.transform(same), found, rtol=0, atol=1e-6)
    small = [picture.convert("RGB").resize((50, 40)) for picture in pictures]
    pixels = np.stack([np.asarray(picture) for picture in small])
    np.testing.assert_array_equal(encoder.transform(pixels), encoder.transform(small))
    mixed: list[Any] = [paths[0], pictures[1], np.asarray(pictures[2].convert("RGB"))]
    np.testing.assert_allclose(encoder.transform(mixed), found[:3], rtol=0, atol=1e-6)


def test_a_turned_photo_is_upright(run: Path, paths: list[Path], tmp_path: Path) -> None:
    encoder = headstart.Encoder(run).fit()
    (picture,) = opened(paths[:1])
    wide = picture.crop((0, 0, picture.width, picture.height // 2)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: to be turned clockwise
    wide.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    wide.save(tmp_path / "upright.png")
    turned, upright = (encoder.transform([tmp_path / f"{n}.png"]) for n in ("turned", "upright"))
    np.testing.assert_array_equal(turned, upright)
    with Image.open(tmp_path / "turned.png") as again:
        np.testing.assert_array_equal(encoder.transform([again]), upright)


def test_batches_change_nothing(run: Path, paths: list[Path]) -> None:
    whole = headstart.Encoder(run).fit_transform(paths)
    for size in (1, 5, 12):
        parts = headstart.Encoder(run, batch_size=size).fit_transform(paths)
        np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-6 * np.abs(whole).max())


def test_in_a_pipeline(run: Path, paths: list[Path]) -> None:
    y = classes(paths)
    pipeline = make_pipeline(headstart.Encoder(run), LogisticRegression(max_iter=1000))
    features = headstart.Encoder(run).fit_transform(paths)
    alone = LogisticRegression(max_iter=1000).fit(features, y)
    assert pipeline.fit(paths, y).predict(paths).tolist() == alone.predict(features).tolist()
    search = GridSearchCV(pipeline, {"encoder__method": ["simclr", "byol"]}, cv=2)
    search.fit(np.array(list(map(str, paths))), [name > "c" for name in y])
    assert search.best_params_["encoder__method"] in ("simclr", "byol")


def test_names_and_frames(run: Path, paths: list[Path]) -> None:
    import pandas as pd

    encoder = headstart.Encoder(run).set_output(transform="pandas")
    frame = encoder.fit_transform(paths)
    assert list(frame.columns) == [f"encoder{i}" for i in range(96)]
    assert list(encoder.get_feature_names_out()) == list(frame.columns)
    table = pd.DataFrame({"path": list(map(str, paths)), "price": np.arange(len(paths))})
    columns = ColumnTransformer(
        [("picture", headstart.Encoder(run), ["path"]), ("rest", "passthrough", ["price"])]
    )
    assert columns.fit_transform(table).shape == (len(paths), 97)
    by_series = headstart.Encoder(run).fit_transform(table["path"])
    np.testing.assert_array_equal(by_series, frame.to_numpy())


def test_cloned_and_pickled(run: Path, paths: list[Path]) -> None:
    encoder = headstart.Encoder(run, "byol", seed=0, batch_size=4)
    twin = clone(encoder)
    assert twin.get_params() == encoder.get_params()
    assert twin.set_params(method="simclr").method == "simclr"
    with pytest.raises(NotFittedError):
        encoder.transform(paths)
    found = encoder.fit(paths).transform(paths)
    again = pickle.loads(pickle.dumps(encoder)).transform(paths)
    np.testing.assert_array_equal(again, found)
    assert np.abs(twin.fit(paths).transform(paths) - found).max() > 1e-3


@pytest.mark.parametrize(
    ("X", "told"),
    [
        ([], "X: no picture"),
        ("photo.jpg", "X: a list of pictures is needed, not str"),
        (3, "X: a list of pictures is needed, not int"),
        (["nowhere.jpg"], r"X\[0\]: nowhere.jpg: cannot be read as an image"),
        ([3], r"X\[0\]: a path, a PIL image or an array .* not int"),
        (np.zeros((2, 8, 8, 3)), r"\(N, H, W, 3\) of uint8, not \(2, 8, 8, 3\) of float64"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"not \(2, 3, 8, 8\)"),
        (np.array([["a", "b"]]), "one column"),
    ],
)
def test_what_is_no_picture(X: Any, told: str, run: Path) -> None:
    with pytest.raises(headstart.StudyError, match=told):
        headstart.Encoder(run).fit().transform(X)


def test_what_cannot_be_fitted(run: Path, tmp_path: Path) -> None:
    with pytest.raises(headstart.StudyError, match="folder of a finished run"):
        headstart.Encoder(tmp_path).fit()
    with pytest.raises(headstart.StudyError, match="no encoder of dino"):
        headstart.Encoder(run, "dino").fit()
    with pytest.raises(headstart.StudyError, match="batch_size: at least 1, not 0"):
        headstart.Encoder(run, batch_size=0).fit()


# scikit-learn's own checks give a transformer a table of random numbers, which is no picture. What
# they would show is shown above on pictures: that it is pickled, cloned, and does not depend on
# the order of rows, on batches, or on what it was fitted with.
TABLE = "transforms a table of numbers"
NOT_MEANT = {
    "check_fit_score_takes_y": TABLE,
    "check_estimators_dtypes": TABLE,
    "check_pipeline_consistency": TABLE,
    "check_estimators_pickle": TABLE,
    "check_f_contiguous_array_estimator": TABLE,
    "check_transformer_general": TABLE,
    "check_transformer_preserve_dtypes": TABLE,
    "check_methods_sample_order_invariance": TABLE,
    "check_methods_subset_invariance": TABLE,
    "check_dict_unchanged": TABLE,
    "check_fit_idempotent": TABLE,
    "check_estimator_sparse_tag": "wants an error of fit, which looks at nothing",
    "check_array_api_input": "is skipped unless SciPy is told to use the array API",
}


class Asked(headstart.Encoder):
    """Says that it takes tables, or scikit-learn would check next to nothing."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.two_d_array = True
        return tags


def test_what_scikit_learn_checks(run: Path) -> None:
    passed, failed = set(), set()
    for estimator, check in estimator_checks_generator(Asked(run)):
        name = getattr(check, "func", check).__name__
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check(estimator)
        except Exception:  # noqa: BLE001 - which checks fail is what is asked
            failed.add(name)
        else:
            passed.add(name)
    assert failed == set(NOT_MEANT)
    assert len(passed) >= 20
    assert {"check_get_params_invariance", "check_set_params", "check_estimator_cloneable"} < passed


def test_it_works_without_scikit_learn(run: Path, paths: list[Path]) -> None:
    code = f"""
import sys
sys.modules["sklearn"] = None
import headstart
encoder = headstart.Encoder({str(run)!r})
try:
    encoder.transform([{str(paths[0])!r}])
except AttributeError:
    print(encoder.fit_transform([{str(paths[0])!r}]).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(1, 96)\n", done.stderr
