"""What replaces one line in the code of a family of models; a short module for each."""
