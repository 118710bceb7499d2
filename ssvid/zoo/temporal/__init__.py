"""Temporal heads, one a file: `HEADS` and `build`, see `ssvid.zoo.registry`."""
