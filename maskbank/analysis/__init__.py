"""Numbers and pictures that show the structure of noise and masks."""
