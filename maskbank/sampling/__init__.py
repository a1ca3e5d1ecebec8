"""From a bank to masks."""
