"""How fast a study trains on this machine, side by side with what it could at best reach."""
