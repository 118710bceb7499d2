"""Tensor operations that tasks and tracking share; free of videos and files."""
