"""Slow twins of other models' masks, one at a time, written from the definitions of their code.

Each draws from a NumPy generator, as the peer draws from its own, so twins are compared by distribution.
"""

import math

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Generator = np.random.Generator


def block_sides(area: int, aspect: float, h: int, w: int, less: int = 0) -> tuple[int, int]:
    """A block's height and width in I-JEPA and V-JEPA; I-JEPA's are `less` = 1 below the frame's."""
    return min(round(math.sqrt(area * aspect)), h - less), min(round(math.sqrt(area / aspect)), w - less)


def put(mask: Bools, sides: tuple[int, int], value: bool, rng: Generator) -> None:
    """Set a block anywhere within the frame."""
    top, left = (rng.integers(0, n - side + 1) for n, side in zip(mask.shape, sides, strict=True))
    mask[top : top + sides[0], left : left + sides[1]] = value


def vjepa(h: int, w: int, scale: float, blocks: int, rng: Generator) -> Bools:
    """V-JEPA's multi-block mask of a frame, which holds for all frames: bool (h, w), True where masked."""
    sides = block_sides(int(h * w * scale), rng.uniform(0.75, 1.5), h, w)
    masked = np.zeros((h, w), bool)
    for _ in range(blocks):
        put(masked, sides, True, rng)
    return masked


def ijepa(h: int, w: int, rng: Generator) -> Bools:
    """What I-JEPA's context leaves out: bool (h, w), True where masked.

    Four target blocks of 0.15 to 0.2 of the image are taken from a square context block of 0.85 to 1. The
    peer draws corners below h - height, which leaves out the last one; here that is drawn as well.
    """
    targets = block_sides(int(h * w * rng.uniform(0.15, 0.2)), rng.uniform(0.75, 1.5), h, w, 1)
    context = block_sides(int(h * w * rng.uniform(0.85, 1)), 1, h, w, 1)
    masked = np.ones((h, w), bool)
    put(masked, context, False, rng)
    for _ in range(4):
        put(masked, targets, True, rng)
    return masked


def data2vec(h: int, w: int, ratio: float, side: int, rng: Generator) -> Bools:
    """data2vec 2's inverse block mask, and EAT's on h x w: bool (h, w), True where visible.

    mask_prob_adjust is 0.07. h = 1 gives the mask of one axis.
    """
    keep = 1 - ratio
    area = side if h == 1 else side**2
    shown = np.zeros((h, w), bool)
    for _ in range(int(h * w * (keep + 0.07) / area)):
        y, x = rng.integers(h), rng.integers(w)
        top, left = max(y - side // 2, 0), max(x - side // 2, 0)
        shown[top : y - side // 2 + side, left : x - side // 2 + side] = True
    spare = int(shown.sum()) - int(h * w * keep)
    chosen = rng.choice(np.flatnonzero(shown if spare > 0 else ~shown), abs(spare), replace=False)
    shown.flat[chosen] = spare < 0
    return shown


def wav2vec(steps: int, spans: int, length: int, rng: Generator) -> Bools:
    """wav2vec 2.0's spans from starts that are all different: bool (steps,), True where masked."""
    masked = np.zeros(steps, bool)
    for start in rng.choice(steps - length + 1, spans, replace=False):
        masked[start : start + length] = True
    return masked


def cav_mae(t: int, f: int, ratio: float, mode: str, rng: Generator) -> Bools:
    """CAV-MAE's structured masking, "time" or "freq": bool (t, f), True where visible."""
    noise = rng.random((t, f))
    if mode == "time":
        noise[rng.choice(t, int(t * ratio), replace=False)] = 1.1
    else:
        noise[:, rng.choice(f, int(f * ratio), replace=False)] = 1.1
    visible = np.zeros(t * f, bool)
    visible[np.argsort(noise, None)[: int(t * f * (1 - ratio))]] = True
    return visible.reshape(t, f)
