"""What is exported: read by the named library as its model card says, it answers as headstart."""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms import v2

import headstart
import tiny_study
from headstart.export import check, write
from headstart.export.check import TOLERANCE, DifferentError, compare, fixed_images
from headstart.export.formats import FORMATS
from headstart.export.formats.base import Format, Loaded, Model
from headstart.export.write import Asked, export
from headstart.nn.encoder import MEAN, STD, build_encoder
from headstart.runtime.stored import Wanted, find
from headstart.stages.report import Outcome

BACKBONES = ("test_resnet", "resnet18")
CASES = [
    (to, backbone)
    for to in FORMATS
    for backbone in BACKBONES
    if (to, backbone) != ("torchvision", "test_resnet")
]
Usage = Callable[[Path, Tensor], Tensor]


def asked(run: Path, to: str, out: Path, **wanted: Any) -> Asked:
    return Asked(run, Wanted("simclr", **wanted), to, out)


def images(count: int) -> Tensor:
    """Other images than those of the check."""
    drawn = torch.Generator().manual_seed(7)
    return torch.rand(count, 3, 32, 32, generator=drawn)


def picture() -> Image.Image:
    """Noise, wider than high."""
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 57, 3), np.uint8))


def code_of(folder: Path) -> str:
    """The lines of Python in the model card."""
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf8"), re.S)[0]


def follow(folder: Path, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Do what the model card says, in the folder."""
    monkeypatch.chdir(folder)
    onnx = (folder / "model.onnx").exists()
    names: dict[str, Any] = {"x": x.numpy() if onnx else x, "image": picture()}
    with torch.inference_mode():
        exec(code_of(folder), names)
    return names


def close(found: Any, own: Tensor) -> bool:
    """To a hundred-thousandth of the largest, as the check has it, but computed apart from it."""
    return bool(np.abs(np.asarray(found) - own.numpy()).max() <= 1e-5 * np.abs(own.numpy()).max())


@pytest.mark.parametrize(("to", "backbone"), CASES)
@pytest.mark.parametrize("protocol", [None, "finetune"])
def test_the_library_answers_as_headstart(
    to: str,
    backbone: str,
    protocol: str | None,
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, out = runs[backbone], tmp_path / "out"
    if protocol is None:
        own, answer = headstart.load_encoder(run, "simclr"), "features"
    else:
        own, answer = headstart.load_classifier(run, "simclr", protocol), "logits"
    record = export(asked(run, to, out, protocol=protocol))
    assert record.agreement.relative <= 1e-5
    for count in (1, 5):
        x = images(count)
        with torch.inference_mode():
            expected = own(x)
        names = follow(out, x, monkeypatch)
        if to == "safetensors":
            names[answer] = built_by_hand(backbone, names["weights"], x)
        assert tuple(names[answer].shape) == tuple(expected.shape)
        assert close(names[answer], expected)
        if to == "timm":  # and the model that is built by name, with strict=True
            with torch.inference_mode():
                assert close(names["model"](names["x"]), expected)
    if to == "onnx" and protocol:
        assert close(names["probabilities"], expected.softmax(dim=1))
    if to == "hf":
        if protocol:
            named = names["model"].config.id2label
            assert tuple(named.values()) == find(run, Wanted("simclr")).classes
        assert float((names["pixels"][0] - as_the_card_says(names["image"])).abs().max()) < 1e-6


def as_the_card_says(picture: Image.Image) -> Tensor:
    """Short side, middle, [0, 1], mean and deviation, by torchvision on the picture itself."""
    steps = [v2.Resize(32, antialias=True), v2.CenterCrop(32), v2.PILToTensor()]
    pixels: Tensor = v2.Compose(steps)(picture)
    return v2.Normalize(MEAN, STD)(pixels / 255)


def built_by_hand(backbone: str, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """timm's model with plain weights; those of a classifier stand behind ``body.``."""
    body = timm.create_model(backbone, num_classes=0)
    named = {n.removeprefix("body."): w for n, w in weights.items() if not n.startswith("head.")}
    body.load_state_dict(named, strict=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        features: Tensor = body.eval()((x - mean) / std)
    if "head.weight" not in weights:
        return features
    return features @ weights["head.weight"].T + weights["head.bias"]


def test_a_linear_head_and_the_baseline_are_exported_too(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    run = runs["test_resnet"]
    for method, protocol in (("simclr", "linear"), ("random", "linear"), ("supervised",) * 2):
        own = headstart.load_classifier(run, method, protocol, label_fraction=0.5)
        wanted = Wanted(method, protocol=protocol, fraction=0.5)
        out = tmp_path / f"{method}-{protocol}"
        export(Asked(run, wanted, "timm", out))
        loaded = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
        x = images(3)
        with torch.inference_mode():
            theirs = loaded(
                (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
            )
            assert close(theirs, own(x))


def test_a_classifier_gives_the_stored_predictions(
    finished: Outcome, finished_study: headstart.Study
) -> None:
    """What ``load_classifier`` finds is what was judged: its logits are those of the run."""
    folder = finished.results_path.parent
    reopened = tiny_study.Reopened.of(finished_study, folder)
    test = reopened.data.images(reopened.data.index.where("test"))
    for method, protocol, fraction in (("byol", "finetune", 0.5), ("simclr", "linear", 1.0)):
        arm = headstart.arms.Arm(method, protocol)
        stored = reopened.predictions(tiny_study.Cell(arm, 0, fraction))
        own = headstart.load_classifier(folder, method, protocol, label_fraction=fraction)
        with torch.inference_mode():
            logits = own(test.centred(np.arange(len(test))))
        assert close(logits, torch.from_numpy(stored.logits))


def test_the_record_says_what_it_is(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    export(asked(runs["resnet18"], "safetensors", out, protocol="linear"))
    record = json.loads((out / "export.json").read_text("utf8"))
    names = {path.name for path in out.iterdir()}
    assert set(record["files"]) == names - {"export.json"}
    for name, digest in record["files"].items():
        assert sha256((out / name).read_bytes()).hexdigest() == digest
    source = record["source"]
    assert (source["network"], source["method"], source["protocol"]) == (
        "classifier",
        "simclr",
        "linear",
    )
    assert [name.split("/")[0] for name in source["artifacts"]] == ["pretrain", "classify"]
    assert all((runs["resnet18"] / name).is_dir() for name in source["artifacts"])
    assert record["preprocessing"]["mean"] == list(MEAN)
    assert (record["preprocessing"]["stored"], record["preprocessing"]["crop"]) == (40, 32)
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_the_file_can_be_given_to_another_run(runs: dict[str, Path], tmp_path: Path) -> None:
    """As ``headstart run --weights NAME=FILE`` reads it; the head of a classifier is left out."""
    for protocol in (None, "finetune"):
        out = tmp_path / str(protocol)
        export(asked(runs["resnet18"], "safetensors", out, protocol=protocol))
        again = build_encoder("resnet18", image_size=32, weights=str(out / "model.safetensors"))
        own = find(runs["resnet18"], Wanted("simclr", protocol=protocol)).encoder
        assert all(
            torch.equal(a, b)
            for a, b in zip(again.state_dict().values(), own.state_dict().values(), strict=True)
        )
        assert again.left_out == (("head.bias", "head.weight") if protocol else ())


# --- what may not leave the house ----------------------------------------------------------------


def left_behind(out: Path) -> list[str]:
    return [path.name for path in out.parent.iterdir()]


SEEN = dict.fromkeys(FORMATS, "1 of its weights are other ones .first: conv1.weight")
SEEN["onnx"] = "its answers differ by .* of the largest, more than 1e-05; nothing was written"


@pytest.mark.parametrize("to", FORMATS)
def test_one_changed_weight_is_seen(
    to: str,
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = type(FORMATS[to]())
    written = form.write

    def spoilt(self: Format, model: Model, folder: Path) -> None:
        network = copy.deepcopy(model.network)
        with torch.no_grad():
            network.body.conv1.weight[0, 0, 1, 1] += 0.05
        written(self, Model(model.backbone, 32, model.stem, network, ()), folder)

    monkeypatch.setattr(form, "write", spoilt)
    with pytest.raises(headstart.StudyError, match=SEEN[to]):
        export(asked(runs["resnet18"], to, tmp_path / "out"))
    assert left_behind(tmp_path / "out") == []


Rename = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def swapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Two weights of one shape under each other's names: it loads strictly, and is another net."""
    a, b = "layer1.0.conv1.weight", "layer1.0.conv2.weight"
    return {**weights, a: weights[b].clone(), b: weights[a].clone()}


def one_missing(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if name != "bn1.running_mean"}


def one_renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("conv1.weight", "conv_1.weight"): t for name, t in weights.items()}


@pytest.mark.parametrize("to", ["timm", "torchvision", "safetensors", "hf"])
@pytest.mark.parametrize("broken", [swapped, one_missing, one_renamed])
def test_a_broken_mapping_of_names_leaves_nothing_behind(
    to: str,
    broken: Rename,
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = type(FORMATS[to]())
    written = form.write

    def mapped_wrongly(self: Format, model: Model, folder: Path) -> None:
        written(self, model, folder)
        file = folder / "model.safetensors"
        save_file(broken(load_file(file)), file)

    monkeypatch.setattr(form, "write", mapped_wrongly)
    out = tmp_path / "out"
    out.mkdir()  # it may be there if it is empty, and stays as it was
    with pytest.raises(headstart.StudyError, match="nothing was written") as caught:
        export(asked(runs["resnet18"], to, out))
    assert "\n" not in str(caught.value)
    assert left_behind(out) == ["out"]
    assert list(out.iterdir()) == []


def test_a_failure_of_the_disk_leaves_nothing_behind(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        export(asked(runs["resnet18"], "safetensors", tmp_path / "a" / "b"))
    assert left_behind(tmp_path / "a") == []


def test_the_check_can_fail() -> None:
    model = Model("", 8, "standard", tiny_study.small_encoder().eval(), ())
    own, weights = model.network, dict(model.body)

    def times(factor: float) -> Loaded:
        return Loaded(lambda x: own(x) * factor, weights)

    assert compare(model, times(1)).weights == len(weights)
    assert compare(model, times(1 + 0.5e-5)).relative == pytest.approx(0.5e-5, rel=0.1)
    for factor in (1 + 2e-5, float("nan")):
        with pytest.raises(DifferentError, match="answers differ by"):
            compare(model, times(factor))
    with pytest.raises(DifferentError, match=r"answers \(5, 3\) where \(5, 8\) is due"):
        compare(model, Loaded(lambda x: own(x)[:, :3], weights))
    for harmed in ({**weights, "0.weight": weights["0.weight"] + 1e-9}, {**weights, "more": MEAN}):
        with pytest.raises(DifferentError, match="1 of its weights"):
            compare(model, Loaded(own, harmed))
    assert torch.equal(fixed_images(8), fixed_images(8))
    assert len(fixed_images(8).unique(dim=0)) == check.IMAGES
    assert TOLERANCE == 1e-5


def test_a_network_of_rounding_says_so() -> None:
    """Logits of features that hardly differ: the difference of two large numbers."""
    encoder = tiny_study.small_encoder()
    network = headstart.methods.supervised.Supervised(encoder, 2).eval()
    with torch.no_grad():
        encoder.body[0].weight.mul_(1e-5)
        encoder.body[1].bias.fill_(1)
        network.head.weight.fill_(1)
        network.head.bias.sub_(network(fixed_images(8)).mean(dim=0))
    model = Model("", 8, "standard", network, ("a", "b"))

    def shaken(x: Tensor) -> Tensor:
        return network(x * 0.99)

    with pytest.raises(DifferentError, match="between 32 and 64 bits: rounding decides them"):
        compare(model, Loaded(shaken, None))


# --- mistakes ------------------------------------------------------------------------------------


@pytest.fixture
def copied(runs: dict[str, Path], tmp_path: Path) -> Path:
    """The run of the ResNet-18, to be harmed."""
    folder = tmp_path / "harmed"
    shutil.copytree(runs["resnet18"], folder)
    return folder


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--to timm --method dino", "no encoder of dino with seed 0; there are simclr (seed 0)"),
        ("--to timm --method supervised", "(seed 0); it has a classifier: give its protocol"),
        ("--to timm --method simclr --seed 9", "no encoder of simclr with seed 9"),
        ("--to time --method simclr", "'time' is not one of 'timm', 'torchvision', 'safetensors'"),
        ("--to timm --method simclr --protocol knn", "simclr/knn is not a network"),
        ("--to timm --method simclr --protocol finetun", "there are simclr/finetune (seed 0, 1 of"),
        (
            "--to timm --method simclr --protocol linear --label-fraction 0.3",
            "no classifier simclr/linear with seed 0 and 0.3 of the labels; there are simclr/",
        ),
        ("--to timm --method simclr --label-fraction 0.3", "goes with --protocol"),
        ("--to timm", "Missing option '--method'"),
    ],
)
def test_a_mistake_is_one_line(
    words: str,
    told: str,
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, err = command(runs["resnet18"], words, tmp_path / "out", monkeypatch, capsys)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def command(
    run: Path,
    words: str,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str]:
    from headstart import cli

    arguments = ["headstart", "export", str(run), *words.split(), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


def refused(line: str, what: Asked) -> None:
    with pytest.raises(headstart.StudyError) as caught:
        export(what)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_run_and_an_unfinished_run(copied: Path, tmp_path: Path) -> None:
    refused("is this the folder of a finished run?", asked(tmp_path / "no", "timm", tmp_path / "o"))
    (copied / "results.json").unlink()
    refused("is this the folder of a finished run?", asked(copied, "timm", tmp_path / "o"))


def test_damaged_and_lost_artifacts(copied: Path, tmp_path: Path) -> None:
    (file,) = (copied / "pretrain").glob("simclr*/encoder.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused("encoder.safetensors is damaged", asked(copied, "timm", tmp_path / "o"))
    shutil.rmtree(file.parent)
    refused("no encoder of simclr with seed 0", asked(copied, "timm", tmp_path / "o"))
    (entry,) = (copied / "classify").glob("simclr-finetune*")
    shutil.rmtree(entry)
    lost = asked(copied, "timm", tmp_path / "o", protocol="finetune")
    refused("classify/simclr-finetune-seed0-1 is not there", lost)


def test_a_collapsed_encoder_is_not_handed_out(copied: Path, tmp_path: Path) -> None:
    path = copied / "results.json"
    results = json.loads(path.read_text("utf8"))
    results["pretraining"][0] |= {"status": "collapsed", "reason": "all outputs are alike."}
    path.write_text(json.dumps(results), "utf8")
    refused("collapsed: all outputs are alike.", asked(copied, "timm", tmp_path / "o"))


def test_a_folder_that_is_taken(runs: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine", "utf8")
    refused("not empty", asked(runs["resnet18"], "timm", tmp_path))
    refused("is no folder", asked(runs["resnet18"], "timm", file))
    (tmp_path / "link").symlink_to(tmp_path)
    refused("is no folder", asked(runs["resnet18"], "timm", tmp_path / "link"))
    refused("file/below: ", asked(runs["resnet18"], "timm", file / "below"))
    assert file.read_text("utf8") == "mine"


@pytest.mark.parametrize("to", [name for name in FORMATS if FORMATS[name].needs])
def test_a_library_that_is_missing(
    to: str, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in FORMATS[to].needs:
        monkeypatch.setitem(sys.modules, module, None)
    line = f"--to {to}: needs {', '.join(FORMATS[to].needs)}; pip install 'headstart[export]'"
    refused(line, asked(runs["resnet18"], to, tmp_path / "o"))


def test_a_library_that_has_no_such_model(runs: dict[str, Path], tmp_path: Path) -> None:
    line = "'test_resnet' is timm's, and torchvision has no model of that name"
    refused(line, asked(runs["test_resnet"], "torchvision", tmp_path / "o"))


def exported_body(to: str, backbone: str, stem: str, folder: Path, classes: int = 0) -> float:
    """Export an untrained backbone, and how far the library's answers are from it."""
    encoder = build_encoder(backbone, image_size=32, stem=stem)
    names = tuple(f"class {i}" for i in range(classes))
    network: Any = encoder.eval()
    if classes:
        network = headstart.methods.supervised.Supervised(encoder, classes).eval()
        torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    model = Model(backbone, 32, stem, network, names)
    folder.mkdir(exist_ok=True)
    FORMATS[to]().write(model, folder)
    return compare(model, FORMATS[to]().load(model, folder)).relative


def test_a_small_stem_is_headstarts_own(tmp_path: Path) -> None:
    for to in ("timm", "torchvision", "hf"):
        with pytest.raises(headstart.StudyError, match="has a stem 'small'"):
            exported_body(to, "resnet18", "small", tmp_path)
    assert exported_body("safetensors", "resnet18", "small", tmp_path) == 0
    assert exported_body("onnx", "resnet18", "small", tmp_path) <= 1e-5


@pytest.mark.parametrize(
    ("to", "backbone"),
    [
        ("timm", "test_vit"),
        ("hf", "test_vit"),
        ("onnx", "test_vit"),
        ("timm", "test_convnext"),
        ("torchvision", "mobilenet_v3_small"),
        ("onnx", "mobilenet_v3_small"),
    ],
)
@pytest.mark.parametrize("classes", [0, 3])
def test_other_backbones(to: str, backbone: str, classes: int, tmp_path: Path) -> None:
    """A transformer that is built for one size, a head behind a norm, torchvision's own names."""
    assert exported_body(to, backbone, "standard", tmp_path, classes) <= 1e-5


def test_timm_has_not_all_of_torchvision(tmp_path: Path) -> None:
    with pytest.raises(headstart.StudyError, match="'mobilenet_v3_small' is torchvision's"):
        exported_body("timm", "mobilenet_v3_small", "standard", tmp_path)
