"""What a search varies: its dimensions, read from the command line and yaml, and checked."""
