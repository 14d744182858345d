"""What the stages share: the run and its data, stored networks, logs, and out-of-memory errors."""
