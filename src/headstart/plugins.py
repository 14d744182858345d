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
register_attribution = ATTRIBUTIONS.register
register_source = SOURCES.register
register_section = SECTIONS.register
register_executor = EXECUTORS.register
register_tracker = TRACKERS.register
