"""What a pretrained backbone is used for, one adapter a file: its `run(...)` yields (name, value) pairs."""
