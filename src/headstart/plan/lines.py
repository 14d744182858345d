"""A plan in words."""

from __future__ import annotations

from headstart.cost import between, size
from headstart.plan.forecast import Plan
from headstart.reporting.words import plural, seconds


def plan_lines(plan: Plan) -> list[str]:
    """What a study would take, for a person: time, room, what it rests on, what to look out for."""
    sizes, best = plan.sizes, plan.layouts[0]
    head = (
        f"{sizes.unlabelled:,} images without and {sizes.labelled:,} with a label in "
        f"{plural(sizes.classes, 'class', 'classes')}"
    )
    lines = [f"{head}: {between(plan.low, plan.high)} with {best.how}."]
    lines += [
        f"Otherwise, with {other.how}: {between(other.low, other.high)}."
        for other in plan.layouts[1:]
    ]
    if plan.machine.gpus:
        low, high = plan.gpu_hours
        lines.append(f"{_number(low)} to {_number(high)} GPU-hours on {plan.machine.gpus} GPUs.")
    least, most = plan.classifiers
    lines.append(
        f"Of it, reading and looking for copies {seconds(plan.index)}; on one GPU or process, "
        f"pretraining would take {seconds(plan.pretraining)}, classifiers {between(least, most)}."
    )
    lines.append(f"{size(plan.disk)} of disk; {size(plan.memory)} of memory{_of_gpu(plan)}.")
    kind = "Rates" if plan.measured else "Not measured for this study on this machine. Rates"
    lines.append(f"{kind}:")
    return [*lines, *(f"  {line}" for line in plan.basis), *plan.warnings]


def _of_gpu(plan: Plan) -> str:
    return f", {size(plan.gpu_memory)} of each GPU's" if plan.gpu_memory else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
