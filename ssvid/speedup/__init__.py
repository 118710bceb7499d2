"""Adaptive speed-up: play every moment as fast as it still looks natural."""
