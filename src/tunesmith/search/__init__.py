"""Searches: a space, the trials drawn from it, and what came of them."""
