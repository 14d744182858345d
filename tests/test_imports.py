"""Importing headstart changes nothing for its host, and needs nothing that only POSIX has."""

from __future__ import annotations

import json
import subprocess
import sys

from rooms import dotted, modules

NAMES = sorted(
    f"headstart.{dotted(path)}".rstrip(".") for path in modules() if path.stem != "__main__"
)
EVERY = f"import importlib\nfor name in {NAMES!r}:\n    importlib.import_module(name)\n"
STATE = """
import json, locale, logging, os, random, signal, sys, warnings
import numpy, PIL.Image, torch
import altair, captum.attr, lightning.fabric, tensorboard, timm, torchvision, vl_convert
import scipy.stats, sklearn, pydantic, jinja2, rich, typer, yaml

def state():
    handlers = {str(s): str(signal.getsignal(s)) for s in signal.valid_signals()}
    return {
        "MAX_IMAGE_PIXELS": PIL.Image.MAX_IMAGE_PIXELS,
        "warnings": [str(f) for f in warnings.filters],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "dtype": str(torch.get_default_dtype()),
        "tf32": [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32],
        "locale": locale.setlocale(locale.LC_ALL),
        "signals": handlers,
        "handlers": [str(h) for h in logging.root.handlers],
        "level": logging.root.level,
        "loggers": logging.getLogger("lightning.fabric").level,
        "random": [hash(random.getstate()), hash(torch.get_rng_state().numpy().tobytes())],
        "environment": dict(os.environ),
        "hook": [str(sys.excepthook), str(threading_hook())],
        "errors": numpy.geterr(),
    }

def threading_hook():
    import threading
    return threading.excepthook

before = state()
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_without_what_only_posix_has() -> None:
    run("import sys\nsys.modules['fcntl'] = sys.modules['resource'] = None\n" + EVERY)


def test_importing_every_module_leaves_the_host_as_it_was() -> None:
    out = run(f"{STATE}\n{EVERY}\nprint(json.dumps([before, state()]))")
    before, after = json.loads(out.splitlines()[-1])
    assert before == after


def test_a_change_would_be_seen() -> None:
    harms = {
        "MAX_IMAGE_PIXELS": "PIL.Image.MAX_IMAGE_PIXELS = None",
        "warnings": "warnings.simplefilter('ignore')",
        "handlers": "logging.basicConfig()",
    }
    lines = [f"{harm}\nprint(json.dumps([before, before := state()]))" for harm in harms.values()]
    out = run("\n".join([STATE, *lines]))
    seen = [json.loads(line) for line in out.splitlines()[-len(harms) :]]
    for what, (before, after) in zip(harms, seen, strict=True):
        assert {key for key in before if before[key] != after[key]} == {what}
