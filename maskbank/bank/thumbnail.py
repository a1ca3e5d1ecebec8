"""Small pictures of masks and items, without matplotlib: text for a terminal, inline PNG for a notebook."""

import base64
import html
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

LONG = 3  # if one of two axes is longer by this factor, it is time, and the other is frequency
MASKED, VISIBLE, ABSENT = (233, 233, 233), (0, 114, 178), (150, 150, 150)
SCALE = 5  # pixels of a token
MOST_PANELS, MOST_ROWS = 8, 4
MOST_TOKENS = 64  # along each axis of a panel; a larger one is cut


def is_spectrogram(grid: tuple[int, ...]) -> bool:
    """Whether the axes of a grid are time and frequency, time being the longer one; or time alone."""
    return len(grid) == 1 or (len(grid) == 2 and max(grid) >= LONG * min(grid))


def panels(values: Array) -> list[Array]:
    """A mask or item as pictures: the frames of (T, H, W), or (H, W) itself, or (L,) as one row.

    In a spectrogram time runs from left to right, and frequency upwards.
    """
    if values.ndim != 2:
        return list(values) if values.ndim == 3 else [values[None]]
    if not is_spectrogram(values.shape):
        return [values]
    return [(values.T if values.shape[0] > values.shape[1] else values)[::-1]]


def fitting(panel: Array, width: int) -> int:
    """How many panels of this width fit beside each other: at least one."""
    return max(1, (width + 1) // (int(panel.shape[1]) + 1))


def text(shown: Sequence[Bools], width: int = 80, blocks: bool = True) -> str:
    """Masks (H, W) beside each other, two rows of tokens in a line, each cut to the width.

    Visible tokens are half blocks or, without `blocks`, the ASCII quote, dot and colon.
    """
    signs = " ▀▄█" if blocks else " '.:"  # none, upper, lower, both
    drawn = []
    for mask in shown:
        even = np.pad(mask[:, :width], ((0, len(mask) % 2), (0, 0))).astype(int)
        drawn.append(["".join(signs[k] for k in row) for row in even[::2] + 2 * even[1::2]])
    return "\n".join(("│" if blocks else "|").join(lines) for lines in zip(*drawn, strict=True))


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """An image (H, W, 3) as a PNG file."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows.tobytes(), 9),
        b"IEND": b"",
    }
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def page(title: str, rows: Sequence[Sequence[Array]]) -> str:
    """HTML with a title and an inline PNG: rows of panels (H, W), masks in colour and items in grey.

    All rows have panels of the same number and shape.
    """
    lines = [
        np.concatenate([_coloured(panel[:MOST_TOKENS, :MOST_TOKENS]) for panel in row[:MOST_PANELS]], axis=1)
        for row in rows
    ]
    image = np.concatenate(lines).repeat(SCALE, 0).repeat(SCALE, 1)
    source = base64.b64encode(png(image)).decode()
    return f'<div><code>{html.escape(title)}</code><br><img src="data:image/png;base64,{source}"></div>'


def _coloured(panel: Array) -> npt.NDArray[np.uint8]:
    """A panel (H, W) as pixels (H + 1, W + 1, 3): white lines keep it apart from its neighbours."""
    if panel.dtype in (bool, np.int8):  # a mask; items have other types
        pixels = np.array([MASKED, VISIBLE, ABSENT], np.uint8)[panel.astype(int)]
    else:
        values = panel.astype(np.float64)
        low, high = np.quantile(values, [0.01, 0.99])
        grey = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255
        pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    return np.pad(pixels, ((0, 1), (0, 1), (0, 0)), constant_values=255)


def of_masks(visible: Bools, valid: Bools, grid: tuple[int, ...], title: str) -> str:
    """HTML of masks, (..., L): blue where visible, light where masked, dark where no token is valid."""
    states = np.where(valid, visible, np.int8(2))
    return page(title, [panels(mask) for mask in states.reshape(-1, *grid)[:MOST_ROWS]])


def of_item(item: Array, share: float, title: str) -> str:
    """HTML of an item's corner and the mask that its highest values make. share: that of visible tokens."""
    corner = item if is_spectrogram(item.shape) else item[tuple(slice(n) for n in (8, 14, 14)[-item.ndim :])]
    order = np.argsort(-corner.astype(np.float64), axis=None, kind="stable")
    mask = np.zeros(corner.size, bool)
    mask[order[: max(1, int(share * corner.size))]] = True
    return page(title, [panels(corner), panels(mask.reshape(corner.shape))])
