"""Samplers: each proposes points of a space."""
