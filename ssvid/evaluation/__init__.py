"""Measuring what a backbone has learnt: frozen features, metrics, tables."""
