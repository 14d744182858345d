"""What is compared: an arm is a method's encoder under a protocol. All that is known of arms.

Printed names, order, colours and the part an arm plays in the comparison are looked up here, and
``method/protocol`` is put together and taken apart here, as is ``method@start``, the method of an
encoder that started from given weights. No other file reads meaning from a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headstart.methods import METHODS


class Role(StrEnum):
    """The part an arm plays in the comparison."""

    CONTROL = "control"
    """Stands in the table to be beaten: the largest class, random weights, more supervision."""
    BASELINE = "baseline"
    """Plain supervised training: what every candidate is compared with."""
    PRETRAINED = "pretrained"
    """An encoder that a self-supervised method trained on the pool."""
    FROZEN = "frozen"
    """The study's own starting weights as they are, under a head of its own."""
    GIVEN = "given"
    """Further weights from elsewhere, frozen or fine-tuned, never pretrained on the pool."""
    CONTINUED = "continued"
    """An encoder that a self-supervised method trained on the pool, from further weights."""
    FOREIGN = "foreign"
    """A model from elsewhere, known by its predictions alone."""


@dataclass(frozen=True)
class Protocol:
    """How an encoder becomes a classifier.

    ``title`` follows the method's name where it is printed, ``heading`` stands above a section;
    ``trained`` says whether the encoder itself is trained on labels, ``network`` whether the
    classifier is one network from pixels to logits.
    """

    title: str = ""
    heading: str = ""
    trained: bool = False
    network: bool = False


PROTOCOLS = {
    "majority": Protocol(),
    "supervised": Protocol(trained=True, network=True),
    "finetune": Protocol("fine-tuned", "Fine-tuned, as it would be used", True, True),
    "linear": Protocol("linear head", "Linear head on the frozen encoder", network=True),
    "knn": Protocol("k-NN", "k-NN on the frozen encoder"),
    "matched": Protocol("compute-matched", trained=True, network=True),
}
"""By name, in the order of tables."""

COMPARED = ("finetune", "linear", "knn")
"""Protocols under which candidates are compared with the baseline; the first is the main answer."""


@dataclass(frozen=True)
class _Style:
    """Of one method in print: its name, its colour as ``#RRGGBB`` and its Vega symbol."""

    title: str
    colour: str
    shape: str


# Not trained by a self-supervised method; in the order of tables, before the methods.
_OURS = {
    "majority": _Style("always the largest class", "#A6A6A6", "stroke"),
    "random": _Style("random weights", "#767676", "cross"),
    "supervised": _Style("supervised", "#000000", "square"),
    "start": _Style("the starting weights", "#8C6D31", "arrow"),
}
_ROLES = {
    "majority": Role.CONTROL,
    "random": Role.CONTROL,
    "supervised": Role.CONTROL,  # but for the arm that is the baseline itself
    "start": Role.FROZEN,
}
_CANDIDATES = (Role.PRETRAINED, Role.FROZEN, Role.GIVEN, Role.CONTINUED)
# Of Okabe & Ito (2008), for colour-blind readers too; methods take them in the registry's order.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5E4FA2", "#7F3B08")
SPARE_SHAPES = ("triangle-right", "triangle-left", "wedge", "arrow")
_SHAPES = ("circle", "triangle-up", "diamond", "triangle-down", *SPARE_SHAPES)
# Of further weights: a colour of their own, and a shape that their continued methods share.
_GIVEN_COLOURS = ("#8C6D31", "#B5651D", "#6B6B2A", "#A0522D")
_GIVEN_SHAPES = ("square", "cross", "stroke", "arrow")

_GIVEN = "weights"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True)
class Origin:
    """Where an encoder comes from: a method, and the further weights it started from.

    ``start`` is the name of these weights, "" for the study's own start. It prints as the
    ``method`` of the results: ``simclr``, ``simclr@dinov2``, and ``weights@dinov2`` for the
    weights themselves.
    """

    method: str
    start: str = ""

    @classmethod
    def parse(cls, text: str) -> Origin:
        """The origin that ``str`` wrote."""
        method, at, start = text.partition("@")
        return cls(method, start) if at and method and start else cls(text)

    @classmethod
    def of_weights(cls, name: str) -> Origin:
        """The further weights of that name, as they are."""
        return cls(_GIVEN, name)

    def __str__(self) -> str:
        """As the results spell it."""
        return f"{self.method}@{self.start}" if self.start else self.method

    @property
    def given(self) -> bool:
        """Whether these are further weights as they are."""
        return bool(self.start) and self.method == _GIVEN

    @property
    def title(self) -> str:
        """Its printed name: ``SimCLR``, ``dinov2 weights``, ``SimCLR continued from …``."""
        if self.given:
            return f"{self.start} weights"
        title = _title(self.method)
        return f"{title} continued from {self.start} weights" if self.start else title

    @property
    def rank(self) -> tuple[str, int, str]:
        """A key that sorts: without further weights first, then by these; controls first."""
        known = [*_OURS, _GIVEN, *METHODS]
        place = known.index(self.method) if self.method in known else len(known)
        return self.start, place, self.method


def weights_fault(names: Sequence[str]) -> str | None:
    """What is wrong with the names of further weights, and what to do; None if nothing is."""
    taken = {name.lower(): "a method or a control" for name in (*_OURS, _GIVEN, *METHODS)}
    for name in names:
        if not _NAME.fullmatch(name):
            return (
                f"'{name}' cannot name weights; write NAME=FILE with a name of at most 40 letters, "
                "digits, '.', '_' and '-' that begins with a letter or a digit"
            )
        if name.lower() in taken:
            return f"'{name}' is the name of {taken[name.lower()]}; write OTHERNAME=FILE"
        taken[name.lower()] = "other weights"
    return None


@dataclass(frozen=True)
class Arm:
    """One arm: whose encoder, and how it becomes a classifier.

    A model from elsewhere has no protocol ("") and its file's name for a method.
    """

    method: str
    protocol: str

    @classmethod
    def parse(cls, text: str) -> Arm:
        """The arm that ``str`` wrote as ``method/protocol``; a name alone is a foreign model."""
        method, slash, protocol = text.rpartition("/")
        if not slash or protocol not in PROTOCOLS:
            return cls(text, "")
        return cls(method, protocol)

    def __str__(self) -> str:
        """``method/protocol``, as the results spell it."""
        return f"{self.method}/{self.protocol}" if self.protocol else self.method

    @property
    def role(self) -> Role:
        """The part it plays in the comparison."""
        if not self.protocol:
            return Role.FOREIGN
        if self == BASELINE:
            return Role.BASELINE
        origin = Origin.parse(self.method)
        if origin.given:
            return Role.GIVEN
        further = Role.CONTINUED if origin.start else Role.PRETRAINED
        return _ROLES.get(self.method, further)

    @property
    def candidate(self) -> bool:
        """Whether it is compared with the baseline."""
        return self.role in _CANDIDATES and self.protocol in COMPARED

    @property
    def label(self) -> str:
        """Its printed name, like ``SimCLR, fine-tuned``."""
        if not self.protocol:
            return self.method
        title = PROTOCOLS[self.protocol].title
        return f"{method_title(self.method)}, {title}" if title else method_title(self.method)

    @property
    def rank(self) -> tuple[tuple[str, int, str], int]:
        """A key that sorts arms as tables show them: by method, then by protocol."""
        return method_rank(self.method), protocol_rank(self.protocol)


BASELINE = Arm("supervised", "supervised")
MATCHED = Arm("supervised", "matched")
BASELINES = (BASELINE, MATCHED)
"""Supervised training; candidates are compared with the better of these on validation."""
MAJORITY = Arm("majority", "majority")
UNTRAINED = Arm("random", "linear")
"""Random weights under a linear head: what the head alone can do."""


def method_title(method: str) -> str:
    """The method as its paper spells it, with the further weights it started from."""
    return Origin.parse(method).title


def method_rank(method: str) -> tuple[str, int, str]:
    """A key that sorts methods: controls, the registry's order, others by name, and then those
    that started from further weights.
    """
    return Origin.parse(method).rank


def protocol_rank(protocol: str) -> int:
    """A key that sorts protocols as tables show them."""
    known = list(PROTOCOLS)
    return known.index(protocol) if protocol in known else len(known)


def is_pretrained(method: str) -> bool:
    """Whether a self-supervised method made the encoder."""
    return method not in _OURS and not Origin.parse(method).given


def is_start(method: str) -> bool:
    """Whether it is what the study's own training starts from: to train it is the baseline."""
    return method in _OURS


def is_candidate(method: str) -> bool:
    """Whether any arm of the method is compared with the baseline."""
    return any(Arm(method, protocol).candidate for protocol in COMPARED)


def method_label(name: str) -> str:
    """The printed name of what a gate speaks of: an arm as ``method/protocol``, or a method."""
    arm = Arm.parse(name)
    return arm.label if arm.protocol else method_title(name)


def colour(method: str, methods: Iterable[str]) -> str:
    """The method's colour as ``#RRGGBB``, among all methods of one report; a method that started
    from further weights keeps its own.
    """
    origin = Origin.parse(method)
    if origin.given:
        return _GIVEN_COLOURS[_start_place(origin, methods) % len(_GIVEN_COLOURS)]
    if origin.method in _OURS:
        return _OURS[origin.method].colour
    return _COLOURS[_place(origin, methods) % len(_COLOURS)]


def shape(method: str, methods: Iterable[str]) -> str:
    """The method's Vega symbol, among all methods of one report; all that started from the same
    further weights share one.
    """
    origin = Origin.parse(method)
    if origin.start:
        return _GIVEN_SHAPES[_start_place(origin, methods) % len(_GIVEN_SHAPES)]
    if method in _OURS:
        return _OURS[method].shape
    return _SHAPES[_place(origin, methods) % len(_SHAPES)]


def _place(origin: Origin, methods: Iterable[str]) -> int:
    """Where a method stands in the registry; methods of another version follow by name."""
    known = list(METHODS)
    if origin.method in known:
        return known.index(origin.method)
    others = {Origin.parse(m).method for m in methods if is_pretrained(m)}
    return len(known) + sorted(others - set(known)).index(origin.method)


def _start_place(origin: Origin, methods: Iterable[str]) -> int:
    """Where further weights stand among those of one report, by name."""
    return sorted({Origin.parse(m).start for m in methods} - {""}).index(origin.start)


def _title(method: str) -> str:
    """A method without what it started from; one that is not known here as it is."""
    if method in _OURS:
        return _OURS[method].title
    known = METHODS.usable(method)
    return known.title if known else method
