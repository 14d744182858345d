"""The methods as lightly's documentation writes them; each is named by ours as its ``peer``."""
