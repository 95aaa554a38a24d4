"""Policies: which segment of which trial comes next."""
