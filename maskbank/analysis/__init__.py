"""What noise and masks look like, in numbers and in pictures."""
