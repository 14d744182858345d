"""Settings known to fail: which are told, which are refused, and which pass in silence."""

from __future__ import annotations

import pytest

from headstart.stats.settings_risks import settings_risks


@pytest.mark.parametrize(
    ("settings", "words", "refuse"),
    [
        (("adamw", 0.2, 256), "sized for LARS", True),
        (("adamw", 0.011, 256), "sized for LARS", True),
        (("lars", 1e-3, 256), "too small for LARS", False),
        (("sgd", 0.05, 8), "is noise", False),
        (("sgd", 0.05, 2), "is noise", False),
        (("sgd", 0.05, 32), "is noisy", False),
    ],
)
def test_bad_settings_are_told(settings: tuple[str, float, int], words: str, refuse: bool) -> None:
    (risk,) = settings_risks(*settings)
    assert words in risk.line
    assert risk.refuse is refuse


@pytest.mark.parametrize("settings", [("adamw", 1e-2, 256), ("sgd", 0.2, 64), ("lars", 0.2, 256)])
def test_good_settings_pass_in_silence(settings: tuple[str, float, int]) -> None:
    assert settings_risks(*settings) == []


def test_several_bad_settings_are_all_told() -> None:
    assert [risk.refuse for risk in settings_risks("adamw", 0.2, 8)] == [True, False]
