"""The table of random streams. Each purpose draws from its own stream, so no two purposes share a word.

A word is a pure function of (key, stream, index, block number): see `maskbank.kernels.philox`. The numbers
are part of every item and every mask, so they never change. Number 5 is retired.
"""

# Items. The key is the bank's seed; the index is the item's, or the set's where that is noted.
VOXELS = 0
SIGMAS = 1
POSITIONS = 2  # the order of Algorithm 1, for each set
TIES = 3  # which of equal masks, for each set
PRIORITIES = 4  # which of equal positions in the rank extension

# Masks. `maskbank.sampling.selection` says what the keys and the counters are.
WINDOWS = 6  # where a window lies
ITEMS = 7  # which item it is cut from
MASKS = 8  # the keys of an epoch and a view
BASELINES = 9  # masks that need no bank
STREAMS = 10  # where the ids of a seeded stream of masks begin
