"""Adaptive speed-up: how fast may every moment play and still look natural?"""
