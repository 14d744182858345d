"""The procedure that every end-to-end arm goes through until longer training helps no more.

Learning rates and weight decays at the base length; rates beyond the grid while the best stands
at its edge; twice the length while that pays; then the other augmentations. It knows nothing of
networks: a trial is whatever ``attempt`` makes of a setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from headstart.config import Finetune
from headstart.stages.classify.trials import Setting, Trial


def base_grid(settings: Finetune) -> list[Setting]:
    """What every arm begins with: each learning rate with each weight decay."""
    pairs = product(settings.lrs, settings.weight_decays)
    return [Setting(lr, decay, settings.augmentations[0]) for lr, decay in pairs]


@dataclass(frozen=True)
class SearchResult:
    """The best trial on validation, with its weights, and all trials without theirs."""

    best: Trial
    trials: tuple[Trial, ...]
    converged: bool
    """Whether longer training was seen to help no more."""

    @property
    def lr_at_edge(self) -> bool:
        """Whether the best learning rate is the smallest or largest of those tried."""
        rates = {trial.setting.lr for trial in self.trials}
        return len(rates) > 1 and self.best.setting.lr in (min(rates), max(rates))


class Search:
    """One arm's trials, the best of them so far, and what to try next."""

    def __init__(self, settings: Finetune, attempt: Callable[[Setting], Trial]) -> None:
        self.settings, self.attempt = settings, attempt
        self.best = Trial.none()
        self.trials: list[Trial] = []

    def run(self) -> SearchResult:
        """Every step of the procedure; where no trial could be scored the grid is all."""
        self._grid()
        converged = False
        if self.best.best_epoch:
            self._widen()
            converged = self._augment(self._lengthen())
        return SearchResult(self.best, tuple(self.trials), converged)

    def _grid(self) -> None:
        """The base grid; at twice the length where no trial of it learned its training images.

        Among networks that have not begun to learn, chance would choose the rate.
        """
        length = 1
        while True:
            tried = [self._try(replace(s, length=length)) for s in base_grid(self.settings)]
            length *= 2
            learned = any(trial.learned for trial in tried)
            scored = any(trial.best_epoch for trial in tried)
            if learned or not scored or length > self.settings.max_lengthening:
                return

    def _try(self, setting: Setting) -> Trial:
        """Train it; it becomes the best if it beats the best so far."""
        trial = self.attempt(setting)
        alike = setting.augmentation == self.best.setting.augmentation
        # Training losses under two augmentations cannot be compared: there the score decides.
        if trial.beats(self.best) if alike else trial.score > self.best.score:
            self.best = trial
        trial = replace(trial, weights={})
        self.trials.append(trial)
        return trial

    def _widen(self) -> None:
        """Rates beyond the grid, with the best weight decay, while the last one is the best."""
        for _ in range(self.settings.widen):
            rate = _beyond(sorted({t.setting.lr for t in self.trials}), self.best.setting.lr)
            if rate is None:
                return
            self._try(replace(self.best.setting, lr=rate))

    def _lengthen(self) -> bool:
        """Double the best trial's length while that pays; whether the end of that was seen.

        A rate that falls to nothing makes any run look finished at its end: only a longer one can
        tell. Where none may follow, the place of the best epoch has to do. A network that has not
        learned its training images, or still learns more of them, is never taken for one that has
        learned all it can: with few validation images these cannot tell.
        """
        first = trial = last = self.best  # last: when longer training was last seen to pay
        in_vain = 0
        while in_vain < self.settings.patience:
            length = 2 * trial.setting.length
            if length > self.settings.max_lengthening:
                flat = trial is first and not trial.still_improving  # nothing longer was tried
                return trial.learned and (in_vain > 0 or flat)
            trial = self._try(replace(trial.setting, length=length))
            if trial.pays(last, self.settings.tolerance):
                last, in_vain = trial, 0
            else:
                in_vain += 1
        return True

    def _augment(self, converged: bool) -> bool:
        """The other augmentations at the length reached; the best is lengthened in its turn."""
        reached = self.best.setting
        for augmentation in self.settings.augmentations[1:]:
            self._try(replace(reached, augmentation=augmentation))
        changed = self.best.setting.augmentation != reached.augmentation
        return self._lengthen() if changed else converged


def _beyond(rates: list[float], best: float) -> float | None:
    """The next rate in the ratio of the last two, where the best of these is the last one."""
    if len(rates) < 2 or best not in (rates[0], rates[-1]):
        return None
    neighbour = rates[1] if best == rates[0] else rates[-2]
    return float(f"{best * best / neighbour:.6g}")
