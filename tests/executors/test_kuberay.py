"""The example for KubeRay: as its definition has it, as Ray's executor needs it, and our own words.

No cluster is asked: what is checked are names, types and what has to agree.
"""

from __future__ import annotations

import copy
import json
import os
import shlex
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from headstart import cli
from headstart.config import Study
from pages import ROOT

CLAIM, JOB = yaml.safe_load_all((ROOT / "examples" / "kuberay.yaml").read_text(encoding="utf8"))
SCHEMA = json.loads((Path(__file__).parent / "rayjob.schema.json").read_text(encoding="utf8"))
CLUSTER = JOB["spec"]["rayClusterSpec"]
HEAD, (WORKERS,) = CLUSTER["headGroupSpec"], CLUSTER["workerGroupSpecs"]
PODS = [group["template"]["spec"] for group in (HEAD, WORKERS)]


VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GONE = object()
_CLUSTER = "spec.rayClusterSpec"
_GROUP = f"{_CLUSTER}.workerGroupSpecs.0"
_POD = f"{_GROUP}.template.spec"
_CONTAINER = f"{_POD}.containers.0"


def test_it_is_a_ray_job() -> None:
    VALIDATOR.check_schema(SCHEMA)
    VALIDATOR.validate(JOB)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("apiVersion", "ray.io/v1alpha1"),
        ("spec.entryPoint", "headstart"),
        ("spec.backoffLimit", "1"),
        (f"{_CLUSTER}.rayVersion", 2.6),
        (f"{_CLUSTER}.autoscaling", False),
        (f"{_CLUSTER}.headGroupSpec.rayStartParams.num-cpus", 0),
        (f"{_GROUP}.groupName", GONE),
        (f"{_GROUP}.template", GONE),
        (f"{_GROUP}.replicas", "4"),
        (f"{_POD}.containers", GONE),
        (f"{_POD}.tolerations.0.effect", "Never"),
        (f"{_POD}.volumes.0.persistentVolumeClaim", "headstart"),
        (f"{_CONTAINER}.resources.limits.memory", "16 GB"),
        (f"{_CONTAINER}.resources.limit", {}),
        (f"{_CONTAINER}.volumeMounts.0.mountpath", "/data"),
        (f"{_CONTAINER}.volumeMounts.0.readOnly", "yes"),
        (f"{_CONTAINER}.image", "headstart"),
    ],
)
def test_a_slip_in_it_is_seen(key: str, value: object) -> None:
    """A key misspelt, left out, or of another type."""
    job = part = copy.deepcopy(JOB)
    *way, last = key.split(".")
    for name in way:
        part = part[int(name) if name.isdigit() else name]
    if value is GONE:
        del part[last]
    else:
        part[last] = value
    assert not VALIDATOR.is_valid(job)


# --- our own words -----------------------------------------------------------------------------


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, Path]:
    """The study and the run folder that the command line reads from the entrypoint."""
    program, *words = shlex.split(JOB["spec"]["entrypoint"])
    assert program == "headstart"
    file = tmp_path / "study.yaml"
    file.write_text("data: {unlabeled: photos, labeled: bags}\n")
    seen: list[tuple[Study, Path]] = []
    monkeypatch.setattr(cli, "_run", lambda study, out, **_: seen.append((study, out)) or 0)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # as Ray's jobs find it
    words[words.index("/data/study.yaml")] = str(file)
    cli.app(words, standalone_mode=False)
    return seen[0]


def test_its_command_is_one_of_ours(asked: tuple[Study, Path]) -> None:
    study, out = asked
    assert study.engine.executor == "ray"
    assert study.engine.precision == "bf16"
    assert os.environ["RAY_ADDRESS"] == "auto"
    assert out == Path("/runs/study")


# --- what the executor needs -------------------------------------------------------------------


def test_all_pods_see_the_study_and_the_run_folder_under_the_same_paths() -> None:
    """Tasks find what others left behind by its path (``executors/ray.py``)."""
    head, worker = (pod["containers"][0]["volumeMounts"] for pod in PODS)
    assert head == worker
    words = shlex.split(JOB["spec"]["entrypoint"])
    written = {mount["mountPath"] for mount in head if not mount.get("readOnly")}
    read = {mount["mountPath"] for mount in head}
    assert str(Path(words[words.index("--out") + 1]).parent) in written
    assert str(Path(words[2]).parent) in read
    for pod in PODS:
        (volume,) = pod["volumes"]
        assert {mount["name"] for mount in head} == {volume["name"]}
        assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]


def test_each_worker_has_a_gpu_and_the_cores_of_its_threads(asked: tuple[Study, Path]) -> None:
    """A task asks for one of each; none is to run on the head."""
    worker = PODS[1]["containers"][0]["resources"]
    assert int(worker["limits"]["nvidia.com/gpu"]) == 1
    assert int(worker["limits"]["cpu"]) == asked[0].engine.threads
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    for pod in PODS:
        resources = pod["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]


def test_the_head_can_decode_on_all_its_cores() -> None:
    """A worker that decodes takes at most 1,536 MB (``docs/study.md``), and there is one a core."""
    limits = PODS[0]["containers"][0]["resources"]["limits"]
    assert int(limits["memory"].removesuffix("Gi")) > 1.5 * int(limits["cpu"])


def test_the_number_of_workers_is_fixed() -> None:
    """The executor asks once whether the cluster has GPUs, and waits for no others."""
    assert CLUSTER["enableInTreeAutoscaling"] is False
    assert WORKERS["replicas"] == WORKERS["minReplicas"] == WORKERS["maxReplicas"] > 0


def test_the_image_is_of_one_ray_that_headstart_takes() -> None:
    assert len({pod["containers"][0]["image"] for pod in PODS}) == 1
    assert PODS[0]["containers"][0]["image"].endswith(f"ray-{CLUSTER['rayVersion']}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = project["optional-dependencies"]["ray"]
    assert CLUSTER["rayVersion"] in Requirement(wanted).specifier
