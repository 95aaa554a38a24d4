"""What a study's results say, in numbers and words: pure functions of them."""
