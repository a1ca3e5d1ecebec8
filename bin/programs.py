"""Programs that `bin/bench` runs beside maskbank: what people write by hand, and limits."""

# What a SciPy user writes: gaussian_filter in a process pool, h5py as the store.
SCIPY = """
import sys
from multiprocessing import Pool
import h5py, numpy as np
from scipy.ndimage import gaussian_filter

def make(i):
    rng = np.random.default_rng([0, i])
    small, large = rng.uniform(0.4, 1.5), rng.uniform(1.4, 3.0)
    white = rng.standard_normal((64, 64, 64), dtype=np.float32)
    noise = gaussian_filter(white, small, mode="wrap") - gaussian_filter(white, large, mode="wrap")
    return noise.astype(np.float16)

if __name__ == "__main__":
    n, path, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with h5py.File(path, "w") as file, Pool(workers) as pool:
        bank = file.create_dataset("noise", (n, 64, 64, 64), "f2", chunks=(1, 64, 64, 64))
        for i, item in enumerate(pool.imap(make, range(n), chunksize=8)):
            bank[i] = item
"""

# The fastest way without compiling anything: float32 FFTs in threads.
FFT = """
import sys
from concurrent.futures import ThreadPoolExecutor
import h5py, numpy as np
from scipy.fft import irfftn, rfftn

axes = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), np.fft.rfftfreq(64), indexing="ij", sparse=True)
squares = sum(axis**2 for axis in axes).astype(np.float32)

def make(i):
    rng = np.random.default_rng([0, i])
    small, large = rng.uniform(0.4, 1.5), rng.uniform(1.4, 3.0)
    response = np.exp(np.float32(-2 * np.pi**2 * small**2) * squares)
    response -= np.exp(np.float32(-2 * np.pi**2 * large**2) * squares)
    white = rng.standard_normal((64, 64, 64), dtype=np.float32)
    return irfftn(rfftn(white) * response, s=white.shape).astype(np.float16)

n, path, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with h5py.File(path, "w") as file, ThreadPoolExecutor(workers) as pool:
    bank = file.create_dataset("noise", (n, 64, 64, 64), "f2", chunks=(1, 64, 64, 64))
    for i, item in enumerate(pool.map(make, range(n))):
        bank[i] = item
"""

# The bytes alone: as many, to a new file, past the page cache where that can be, and synced.
WRITE = """
import mmap, os, sys
n, path = int(sys.argv[1]), sys.argv[2]
piece = mmap.mmap(-1, 2**22)
piece[:] = os.urandom(2**22)
flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
try:
    fd = os.open(path, flags | os.O_DIRECT)
except OSError:
    fd = os.open(path, flags)
for k in range(-(-n * 2**19 // 2**22)):
    os.pwrite(fd, piece, k * 2**22)
os.fsync(fd)
"""

# The numbers alone: the same items, computed in as many threads and thrown away.
COMPUTE = """
import sys, threading
from maskbank.noise import Block, maker
from maskbank.recipes import Green
n, workers, recipe = int(sys.argv[1]), int(sys.argv[2]), Green()

def work(start):
    source, block = maker(recipe, 0), Block(recipe, 1)
    for i in range(start, n, workers):
        source.make(i, block)

maker(recipe, 0).make(0, Block(recipe, 0))
threads = [threading.Thread(target=work, args=(k,)) for k in range(workers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

# A cycle of the processor, the width of its vectors, and the seconds of an item in one thread, minima.
CORE = """
import time
import numba
from maskbank.kernels.vectors import WIDTH
from maskbank.noise import Block, maker
from maskbank.recipes import Green

@numba.njit
def chain(n, x):
    for _ in range(n):
        x = (x ^ (x >> 7)) * 6364136223846793005  # 5 cycles, each waiting for the one before it
    return x

def least(call, times):
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)

source, block = maker(Green(), 0), Block(Green(), 1)
source.make(0, block)
chain(1, 1)
print(least(lambda: chain(10**5, 1), 200) / 5e5, WIDTH, least(lambda: source.make(1, block), 500))
"""

# The main job, saying every so many seconds in the file's journal what is done.
JOURNAL = """
import sys
from maskbank import generate
from maskbank.generation import threads
from maskbank.recipes import Green
threads.CHECKPOINT_SECONDS = float(sys.argv[3])
generate(sys.argv[2], Green(), int(sys.argv[1]), workers=2)
"""

# The bytes alone, out of the page cache, in two threads.
READ = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
fd, size = os.open(sys.argv[1], os.O_RDONLY), os.path.getsize(sys.argv[1])

def read(start):
    piece = bytearray(2**22)
    for offset in range(start * 2**22, size, 2 * 2**22):
        os.preadv(fd, [piece], offset)

with ThreadPoolExecutor(2) as pool:
    list(pool.map(read, range(2)))
"""
