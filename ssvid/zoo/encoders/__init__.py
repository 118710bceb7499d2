"""Encoders, one family a file: `MODELS` and `build`, see `ssvid.zoo.registry`."""
