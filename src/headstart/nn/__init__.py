"""The network parts that methods are made of: encoder, heads, losses, averages, optimisers."""
