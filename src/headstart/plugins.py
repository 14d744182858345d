"""Decorators that add a part of your own: a method, an attribution, a source of
images, a section of the report, an executor, a tracker.

What is registered before a study is built is known to it by name, as our own parts are.
"""

from __future__ import annotations

from headstart.attributions import ATTRIBUTIONS
from headstart.data.sources import SOURCES
from headstart.executors import EXECUTORS
from headstart.methods import METHODS
from headstart.reporting.sections import SECTIONS
from headstart.trackers import TRACKERS

register_method = METHODS.register
"""A class derived from ``headstart.methods.base.Method``: how an encoder learns without labels."""
register_attribution = ATTRIBUTIONS.register
"""A function from a ``Case`` to ``Maps``: which pixels carry a score."""
register_source = SOURCES.register
"""A class with ``accepts`` and ``images``: where images come from."""
register_section = SECTIONS.register
"""A function from the results and the run's folder to HTML: a part of the report."""
register_executor = EXECUTORS.register
"""A class with ``map``: where the encoders of a study are computed."""
register_tracker = TRACKERS.register
"""A class with ``curves``, ``answer`` and ``close``: who is told of curves and answers."""
