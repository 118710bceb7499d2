"""Carrying masks, boxes, parts and points through a video by the correspondence that a backbone has learnt: label propagation."""
