"""Decorators that add a part of your own: a method, an attribution, an executor.

What is registered before a study is built is known to it by name, as our own parts are.
"""

from __future__ import annotations

from headstart.attributions import ATTRIBUTIONS
from headstart.executors import EXECUTORS
from headstart.methods import METHODS

register_method = METHODS.register
register_attribution = ATTRIBUTIONS.register
register_executor = EXECUTORS.register
