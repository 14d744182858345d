"""Studies: who overrules whom, and one helpful line for whatever is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.config import PRESETS, Optim, Recipe, Study, StudyError, View
from headstart.layers import build_study, merge_settings, read_assignment, read_study_file
from headstart.methods import METHODS
from headstart.recipes import resolve_recipe


def fault(settings: dict[str, Any], source: str = "study.yaml") -> str:
    """The one line that wrong settings end in."""
    with pytest.raises(StudyError) as caught:
        build_study([(source, settings)])
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{source}: ")
    return line


# --- layers ------------------------------------------------------------------------------------


def test_later_layers_overrule_earlier_ones_and_leave_the_rest() -> None:
    study = build_study(
        [
            ("preset quick", PRESETS["quick"]()),
            ("study.yaml", {"pretrain": {"epochs": 20, "batch_size": 32}, "seeds": [0, 1]}),
            ("--set", read_assignment("pretrain.epochs=30")),
            ("--seeds", {"seeds": [7]}),
        ]
    )
    assert study.pretrain.epochs == 30  # --set over the file
    assert study.pretrain.batch_size == 32  # the file over the preset
    assert study.encoder.image_size == 64  # the preset over the default
    assert study.pretrain.drop_last  # the default
    assert study.seeds == (7,)  # the flag over all


def test_every_order_of_two_layers_lets_the_last_one_win() -> None:
    layers = [("a", {"compare": {"margin": 0.01}}), ("b", {"compare": {"margin": 0.05}})]
    for order in itertools.permutations(layers):
        assert build_study(list(order)).compare.margin == order[-1][1]["compare"]["margin"]


def test_no_layers_are_the_defaults() -> None:
    assert build_study([]) == Study()


def test_standard_is_the_defaults_with_three_seeds_unless_told_otherwise() -> None:
    standard = ("preset standard", PRESETS["standard"]())
    assert build_study([standard]) == Study(seeds=(0, 1, 2))
    assert build_study([standard, ("--seeds", {"seeds": [4]})]).seeds == (4,)


def test_the_layer_that_brought_the_fault_is_named() -> None:
    good, bad = {"pretrain": {"epochs": 3}}, {"pretrain": {"epochs": 0}}
    with pytest.raises(StudyError, match=r"^--set: pretrain\.epochs: .*greater than or equal to 1"):
        build_study([("study.yaml", good), ("--set", bad)])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_with_every_method(name: str) -> None:
    study = build_study([(name, PRESETS[name]())])
    whole = set(Study().methods)
    assert set(study.methods) < whole if name == "demo" else set(study.methods) == whole
    for method in study.methods:
        assert isinstance(resolve_recipe(study, method), Recipe)


def test_merging_leaves_its_inputs_alone() -> None:
    base, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge_settings(base, over) == {"a": {"b": 1, "c": 2}}
    assert base == {"a": {"b": 1}}
    assert over == {"a": {"c": 2}}


@pytest.mark.parametrize("chosen", ["moco,byol", "moco, byol,", ["moco", "byol"], ("moco", "byol")])
def test_selecting_methods_keeps_their_settings(chosen: Any) -> None:
    file = {"methods": {"moco": {"queue": 512}, "simclr": {"temperature": 0.3}}}
    study = build_study([("file", file), ("--methods", {"methods": chosen})])
    assert study.methods == {"moco": {"queue": 512}, "byol": {}}


def test_a_method_without_settings_is_written_with_nothing_after_the_colon() -> None:
    text = "methods:\n  moco:\n  simclr:\n    optim:\n"
    study = build_study([("file", yaml.safe_load(text))])
    assert resolve_recipe(study, "moco") == resolve_recipe(Study(), "moco")
    assert resolve_recipe(study, "simclr") == resolve_recipe(Study(), "simclr")


# --- wrong values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "where", "near"),
    [
        ({"pretrian": {}}, "pretrian", "pretrain"),
        ({"pretrain": {"epoch": 3}}, "pretrain.epoch", "epochs"),
        ({"classify": {"finetune": {"lr": [0.1]}}}, "classify.finetune.lr", "lrs"),
        ({"methods": {"moco": {"temperatur": 0.1}}}, "methods.moco.temperatur", "temperature"),
        ({"methods": {"moco": {"optm": {}}}}, "methods.moco.optm", "optim"),
        ({"methods": {"moco": {"optim": {"lrr": 1}}}}, "methods.moco.optim.lrr", "lr"),
        ({"methods": {"byol": {"view2": {"hues": 1}}}}, "methods.byol.view2.hues", "hue"),
        ({"methods": {"byol": {"views": {"crp": 1}}}}, "methods.byol.view1.crp", "crop"),
    ],
)
def test_an_unknown_key_names_the_nearest(settings: dict[str, Any], where: str, near: str) -> None:
    assert fault(settings) == f"study.yaml: {where}: unknown setting; did you mean '{near}'?"


def test_an_unknown_key_like_no_other_names_none() -> None:
    assert fault({"zzzzzz": 1}) == "study.yaml: zzzzzz: unknown setting"


def test_an_unknown_method_lists_the_known_and_names_the_nearest() -> None:
    line = fault({"methods": ["mocoo"]})
    known = ", ".join(f"'{name}'" for name in METHODS)
    assert line == f"study.yaml: methods: 'mocoo' is not one of {known}; did you mean 'moco'?"


WRONG = [
    ({"pretrain": {"epochs": "many"}}, "pretrain.epochs"),
    ({"pretrain": {"epochs": 1.5}}, "pretrain.epochs"),
    ({"pretrain": {"epochs": 0}}, "pretrain.epochs"),
    ({"pretrain": {"epochs": True}}, "pretrain.epochs"),
    ({"pretrain": {"recipe": "papr"}}, "pretrain.recipe"),
    ({"pretrain": []}, "pretrain"),
    ({"pretrain": None}, "pretrain"),
    ({"data": {"split": [0.5, 0.5, 0.5]}}, "data.split"),
    ({"data": {"split": [1, 0, 0]}}, "data.split.1"),
    ({"data": {"unlabeled": 7}}, "data.unlabeled"),
    ({"data": {1: 2}}, "data.1"),
    ({"seeds": []}, "seeds"),
    ({"seeds": [1, 1]}, "seeds"),
    ({"seeds": 3}, "seeds"),
    ({"seeds": [-1]}, "seeds.0"),
    ({"label_fractions": [0]}, "label_fractions.0"),
    ({"label_fractions": [float("nan")]}, "label_fractions.0"),
    ({"encoder": {"backbone": 18}}, "encoder.backbone"),
    ({"encoder": {"image_size": 8}}, "encoder.image_size"),
    ({"classify": {"protocols": ["linar"]}}, "classify.protocols.0"),
    ({"classify": {"finetune": {"lrs": []}}}, "classify.finetune.lrs"),
    ({"classify": {"finetune": {"lrs": [float("inf")]}}}, "classify.finetune.lrs.0"),
    ({"explain": {"attributions": 3}}, "explain.attributions"),
    ({"methods": None}, "methods"),
    ({"methods": 5}, "methods"),
    ({"methods": {"moco": 5}}, "methods.moco"),
    ({"methods": {1: {}}}, "methods.1.[key]"),
    ({"methods": {"moco": {"views": 5}}}, "methods.moco.views"),
    ({"methods": {"moco": {"optim": [1]}}}, "methods.moco.optim"),
    ({"methods": {"moco": {"optim": {"lr": 0}}}}, "methods.moco.optim.lr"),
    ({"methods": {"moco": {"optim": {"lr": float("inf")}}}}, "methods.moco.optim.lr"),
    ({"methods": {"moco": {"optim": {"name": "adam"}}}}, "methods.moco.optim.name"),
    ({"methods": {"moco": {"views": {"crop": [1.0, 0.2]}}}}, "methods.moco.view1.crop"),
    ({"methods": {"moco": {"view2": {"flip_p": 2}}}}, "methods.moco.view2.flip_p"),
    ({"methods": {"moco": {"queue": "long"}}}, "methods.moco.queue"),
    ({"methods": {"moco": {"queue": 0}}}, "methods.moco.queue"),
    ({"methods": {"moco": {"queue": True}}}, "methods.moco.queue"),
    ({"methods": {"moco": {"momentum": 1.1}}}, "methods.moco.momentum"),
    ({"methods": {"moco": {"temperature": 0}}}, "methods.moco.temperature"),
    ({"methods": {"simclr": {"temperature": -0.1}}}, "methods.simclr.temperature"),
    ({"methods": {"simsiam": {"bottleneck": 0}}}, "methods.simsiam.bottleneck"),
    ({"methods": {"byol": {"base_momentum": 2}}}, "methods.byol.base_momentum"),
]


@pytest.mark.parametrize(("settings", "where"), WRONG, ids=[str(w[0]) for w in WRONG])
def test_a_wrong_value_is_one_line_that_says_where(settings: dict[str, Any], where: str) -> None:
    assert fault(settings).startswith(f"study.yaml: {where}: ")


def test_a_wrong_value_is_shown() -> None:
    assert fault({"pretrain": {"epochs": "many"}}).endswith(", not 'many'")


def test_a_setting_of_another_method_is_unknown() -> None:
    """The settings of a method are the keyword arguments of its constructor, and no others."""
    assert "unknown setting" in fault({"methods": {"simclr": {"queue": 512}}})
    assert "unknown setting" in fault({"methods": {"byol": {"encoder": 1}}})
    assert "unknown setting" in fault({"methods": {"byol": {"steps": 1}}})


def test_settings_of_a_method_reach_its_recipe_in_the_types_of_its_signature() -> None:
    changes = {"queue": "512", "hidden": 64, "optim": {"lr": "1e-3"}, "views": {"hue": 0.2}}
    changes["view2"] = {"blur_p": 0}
    study = build_study([("file", {"methods": {"moco": changes}})])
    recipe = resolve_recipe(study, "moco")
    assert recipe.settings["queue"] == 512
    assert recipe.settings["hidden"] == 64
    assert recipe.settings["momentum"] == 0.99  # untouched
    assert recipe.optim.lr == 1e-3
    assert recipe.optim.momentum == 0.9  # untouched
    assert (recipe.view1.hue, recipe.view2.hue) == (0.2, 0.2)
    assert (recipe.view1.blur_p, recipe.view2.blur_p) == (0.5, 0.0)


def test_groups_of_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Study().pretrain.epochs = 3  # type: ignore[misc]


# --- files and --set ---------------------------------------------------------------------------


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "studies" / "study.yaml"
    file.parent.mkdir()
    file.write_text(
        "data: {unlabeled: ../pool, labeled: /abs/labeled, cache: cache}\n"
        "encoder: {weights: body.pth}\n"
    )
    settings = read_study_file(file)
    assert settings["data"]["unlabeled"] == str(file.parent / "../pool")
    assert settings["data"]["labeled"] == "/abs/labeled"
    assert settings["data"]["cache"] == str(file.parent / "cache")
    assert settings["encoder"]["weights"] == str(file.parent / "body.pth")


def test_masks_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("explain: {masks: outlines, images: 4}", encoding="utf8")
    study = build_study([("file", read_study_file(file))])
    assert study.explain.masks == tmp_path / "outlines"


@pytest.mark.parametrize("given", ["saliency,occlusion", ["saliency", "occlusion", "saliency"]])
def test_attributions_may_be_one_line_and_count_once(given: Any) -> None:
    study = build_study([("test", {"explain": {"attributions": given}})])
    assert study.explain.attributions == ("saliency", "occlusion")


def test_home_is_spelled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    file = tmp_path / "study.yaml"
    file.write_text("data: {unlabeled: ~/photos}\n")
    assert read_study_file(file)["data"]["unlabeled"] == "/home/someone/photos"


@pytest.mark.parametrize("start", ["random", "pretrained"])
def test_words_for_weights_are_no_paths(tmp_path: Path, start: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(f"encoder: {{weights: {start}}}\n")
    assert read_study_file(file)["encoder"]["weights"] == start


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n- b\n",
        "just words",
        "a: [",
        "a: b: c",
        "\t",
        "a: !!python/object/apply:os.system [ls]",
        "a: 2001-99-99",
        "a: !!int x",
        "a: !!bool x",
        "a: !!timestamp x",
        "a: !!float ''",
        "a: " + "[" * 3000,
        "a: " + "1" * 5000,
        "a: \x00",
        "? [1]\n: 2",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_a_file_that_is_no_mapping_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(StudyError) as caught:
        read_study_file(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="No such file"):
        read_study_file(tmp_path / "missing.yaml")
    with pytest.raises(StudyError, match="Is a directory"):
        read_study_file(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: caf\xe9")
    with pytest.raises(StudyError, match="not readable as YAML"):
        read_study_file(tmp_path / "latin.yaml")


def test_an_assignment_is_read_as_yaml() -> None:
    assert read_assignment("a.b=[1, 2]") == {"a": {"b": [1, 2]}}
    assert read_assignment("a=x=y") == {"a": "x=y"}
    assert read_assignment("a=") == {"a": None}
    assert read_assignment("a=[") == {"a": "["}  # not YAML: taken as it is written


@pytest.mark.parametrize("text", ["", "a", "=1", "a..b=1", ".a=1", "a.=1", "a\nb"])
def test_an_assignment_without_key_or_value_says_how(text: str) -> None:
    with pytest.raises(StudyError) as caught:
        read_assignment(text)
    assert str(caught.value).endswith("write key=value, like pretrain.epochs=200")
    assert "\n" not in str(caught.value)


def or_one_line(read: Callable[[], Any]) -> Any:
    """What ``read`` gives, or a stand-in where it raises a study error of one line."""
    try:
        return read()
    except StudyError as error:
        lines = str(error).splitlines()
    assert len(lines) == 1
    return {"refused": lines[0]}


YAML_MARKS = tuple("ae1=|:\n\t\x85-[]{}?><%@`' \"~.,\ufeffé")
YAML_TAGS = ("!!int ", "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ")
YAML_BITS = st.sampled_from(
    (*YAML_MARKS, *YAML_TAGS, ": ", "&a ", "*a", "2001-01-01", "1:60", "0x")
)
ANY_TEXT = st.text() | st.lists(YAML_BITS, max_size=12).map("".join)


@given(ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_no_assignment_raises_anything_but_a_study_error(text: str) -> None:
    nested = or_one_line(lambda: read_assignment(text))
    assert isinstance(nested, dict)
    assert all(nested)


@given(st.binary(max_size=60) | ANY_TEXT.map(lambda text: text.encode("utf8", "replace")))
@settings(max_examples=200, deadline=None)
def test_no_file_raises_anything_but_a_study_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(content)
    assert isinstance(or_one_line(lambda: read_study_file(file)), dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(list(Study.model_fields))
METHOD_KEYS = st.sampled_from(["queue", "temperature", "optim", "view1", "views", "hidden", "x"])


@given(
    st.dictionaries(KEYS, JSON, max_size=3)
    | st.dictionaries(METHOD_KEYS, JSON, max_size=3).map(lambda m: {"methods": {"moco": m}})
)
@settings(max_examples=150, deadline=None)
def test_no_settings_raise_anything_but_a_study_error(nested: dict[str, Any]) -> None:
    assert isinstance(or_one_line(lambda: build_study([("file", nested)])), Study | dict)


# --- recipes against the published settings ----------------------------------------------------


def recipe(method: str, name: str, epochs: int = 200) -> Recipe:
    study = {"pretrain": {"recipe": name, "epochs": epochs}}
    return resolve_recipe(build_study([("study", study)]), method)


STRONG = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}


def test_moco_as_published() -> None:
    paper = recipe("moco", "paper")
    assert paper.optim == Optim(
        name="sgd", lr=0.03, scale="linear", momentum=0.9, weight_decay=1e-4,
        decay_norm_and_bias=True, warmup_epochs=0, schedule="cosine", cosine_per="epoch",
    )  # fmt: skip
    expected = {"queue": 65536, "momentum": 0.999, "temperature": 0.2, "symmetric": False}
    assert {key: paper.settings[key] for key in expected} == expected
    assert paper.settings["hidden"] is None  # as wide as the features: 2048 of a ResNet-50
    assert paper.settings["dim"] == 128
    assert paper.view1 == paper.view2 == View(
        crop=(0.2, 1.0), interpolation="bilinear", flip_p=0.5, jitter_p=0.8, brightness=0.4,
        contrast=0.4, saturation=0.4, hue=0.1, gray_p=0.2, blur_p=0.5, blur_sigma=(0.1, 2.0),
        solarize_p=0.0, aspect=(3 / 4, 4 / 3),
    )  # fmt: skip


def test_moco_for_small_data() -> None:
    small = recipe("moco", "small")
    assert small.optim == Optim(lr=0.06, weight_decay=5e-4)
    expected = {"queue": 4096, "momentum": 0.99, "temperature": 0.1, "symmetric": True}
    assert {key: small.settings[key] for key in expected} == expected
    assert (small.settings["hidden"], small.settings["dim"]) == (2048, 128)
    assert small.view1 == small.view2 == View()


def test_simclr_as_published() -> None:
    paper = recipe("simclr", "paper")
    assert paper.optim == Optim(
        name="lars", lr=0.3, scale="linear", momentum=0.9, weight_decay=1e-6, warmup_epochs=10,
        decay_norm_and_bias=False, schedule="cosine", cosine_per="step",
    )  # fmt: skip
    assert paper.settings == {"temperature": 0.1, "hidden": None, "dim": 128, "output_norm": True}
    expected = View(crop=(0.08, 1.0), interpolation="bicubic", blur_p=0.5, **STRONG)
    assert paper.view1 == paper.view2 == expected


def test_simclr_for_small_data() -> None:
    small = recipe("simclr", "small")
    assert small.optim == Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10)
    assert small.settings["temperature"] == 0.5
    assert small.view1 == small.view2 == View(crop=(0.08, 1.0))


def test_simsiam_as_published() -> None:
    paper = recipe("simsiam", "paper")
    assert paper.optim == Optim(lr=0.05, weight_decay=1e-4, decay_norm_and_bias=True)
    assert paper.settings == {"dim": 2048, "bottleneck": 512}
    assert paper.view1 == paper.view2 == View()


def test_simsiam_for_small_data() -> None:
    small = recipe("simsiam", "small")
    assert small.optim == Optim(lr=0.06, weight_decay=5e-4)
    assert small.settings == {"dim": 2048, "bottleneck": 512}


@pytest.mark.parametrize(
    ("epochs", "lr", "decay", "tau"),
    [
        (40, 0.45, 1e-6, 0.97),
        (100, 0.45, 1e-6, 0.99),
        (300, 0.3, 1e-6, 0.99),
        (1000, 0.2, 1.5e-6, 0.996),
        (1, 0.45, 1e-6, 0.97),
        (5000, 0.2, 1.5e-6, 0.996),
    ],
)
def test_byol_as_published_by_epochs(epochs: int, lr: float, decay: float, tau: float) -> None:
    paper = recipe("byol", "paper", epochs)
    assert paper.optim == Optim(name="lars", lr=lr, weight_decay=decay, warmup_epochs=10)
    assert paper.settings == {"hidden": 4096, "dim": 256, "base_momentum": tau}


@pytest.mark.parametrize("name", ["paper", "small"])
def test_views_of_byol_are_not_alike(name: str) -> None:
    byol = recipe("byol", name)
    common = {"crop": (0.08, 1.0), "interpolation": "bicubic", "saturation": 0.2, "hue": 0.1}
    assert byol.view1 == View(**common, blur_p=1.0, solarize_p=0.0)
    assert byol.view2 == View(**common, blur_p=0.1, solarize_p=0.2)


def test_byol_for_small_data() -> None:
    small = recipe("byol", "small")
    assert small.optim == Optim(lr=0.06, weight_decay=5e-4, warmup_epochs=10)
    assert small.settings["base_momentum"] == 0.99


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["paper", "small"])
def test_a_recipe_is_within_its_own_limits(method: str, name: str) -> None:
    made = METHODS[method].recipe(name, 200)
    assert Recipe.model_validate(made.model_dump()) == made


# --- channels that are no colours --------------------------------------------------------------


@pytest.mark.parametrize(("given", "kept"), [("rgb", "rgb"), ("RGB", "rgb"), (5, 5), ("13", 13)])
def test_channels_are_a_number_or_rgb(given: Any, kept: Any) -> None:
    assert build_study([("study.yaml", {"data": {"channels": given}})]).data.channels == kept


@pytest.mark.parametrize("given", [0, -1, 257, 2.5, "grey", True, [3], None])
def test_other_channels_are_one_line(given: Any) -> None:
    assert "data.channels" in fault({"data": {"channels": given}})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"channels": 2, "value_range": [5, 5]}, "the lower first"),
        ({"channels": 2, "value_range": [9, 1]}, "the lower first"),
        ({"channels": 2, "value_range": [0, float("inf")]}, "data.value_range"),
        ({"value_range": [0, 1]}, "give data.channels a number"),
    ],
)
def test_a_value_range_that_is_none_is_one_line(data: dict[str, Any], words: str) -> None:
    assert words in fault({"data": data})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["small", "paper"])
def test_recipes_leave_out_colours_that_are_none(method: str, name: str) -> None:
    layers = {"data": {"channels": 4}, "pretrain": {"recipe": name}}
    found = resolve_recipe(build_study([("study.yaml", layers)]), method)
    plain = recipe(method, name)
    for one, other in ((found.view1, plain.view1), (found.view2, plain.view2)):
        assert one == other.without_colours()
    assert (found.optim, found.settings) == (plain.optim, plain.settings)


@pytest.mark.parametrize("part", ["views", "view1", "view2"])
@pytest.mark.parametrize("name", ["hue", "saturation", "gray_p", "solarize_p"])
def test_asking_for_colours_that_are_none_is_one_line(part: str, name: str) -> None:
    line = fault({"data": {"channels": 4}, "methods": {"simclr": {part: {name: 0.1}}}})
    assert f"methods.simclr.{part}.{name}: is for colour photographs" in line


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        (2048, 2048),
        ("20kB", 20_000),
        ("1.5 MB", 1_500_000),
        ("200gb", 200 * 10**9),
        ("3T", 3 * 10**12),
    ],
)
def test_a_number_of_bytes(text: str | int, size: int) -> None:
    assert Study(data={"cache_budget": text}).data.cache_budget == size


@pytest.mark.parametrize("text", ["", "0", "-1", "lots", "1e9", "5 PB", "1.2.3GB", True, "9" * 30])
def test_what_is_no_number_of_bytes_says_how_to_write_one(text: object) -> None:
    with pytest.raises(ValueError, match="such as 500MB or 200GB"):
        Study(data={"cache_budget": text})
