"""What a search costs: measured by a worker, played through, told before it is spent."""
