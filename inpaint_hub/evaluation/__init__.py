"""Judging: fixed image-mask pairs, metrics on the composited picture, one table for all methods."""
