"""The winner: confirmed over fresh seeds, its model kept, its config written."""
