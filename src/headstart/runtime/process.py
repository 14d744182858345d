"""What a worker process knows of the one that sent it work; it imports no PyTorch.

So a process starts at once, and imports what its work needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.runtime.run import Tell

tell: Tell | None = None
"""Who hears of a run that was sent to this process; a worker process puts its parent here."""
