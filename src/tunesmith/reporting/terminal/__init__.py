"""What one sees of a study on a terminal: while it runs, at its end, and all of them."""
