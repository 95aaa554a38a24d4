"""Executors: where segments run, here or on a cluster."""
