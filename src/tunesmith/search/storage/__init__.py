"""What a study keeps: its trials in one SQLite file, their checkpoints, its summary."""
