"""From a recipe and n to a bank: on this machine's threads, on a cluster, in parts."""
