"""Pretraining: the contract of a task, the loop, the run folder."""
