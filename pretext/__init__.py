"""Pretext tasks, one file each and nothing else. The file's name is the task's name; `ssvid.training.task` is the contract."""
