"""What the verbs share: the run and its data, stored networks, logs, and memory that runs out."""
