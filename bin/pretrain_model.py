"""A small masked autoencoder in plain torch, after VideoMAE and AudioMAE.

The encoder sees visible tokens only; a light decoder sees them again, beside mask tokens. Two things save
time on a CPU: the decoder predicts a random share of the masked tokens (VideoMAE V2's dual masking), and its
attention falls off with distance (ALiBi), so it need not learn first which tokens are neighbours.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

Tensor = Any
Sizes = tuple[int, int, int, int, int]  # width, depth, heads; the decoder's width and depth
SMALL: Sizes = (64, 3, 2, 64, 2)
VIT_SMALL: Sizes = (384, 12, 6, 192, 4)
# How fast the decoder's four heads forget distant tokens, along each axis
SLOPES = ((0.3, 2.0, 2.0), (0.7, 0.7, 0.7), (2.0, 1.0, 1.0), (0.2, 0.2, 0.2))


def blocks(width: int, heads: int, depth: int) -> Any:
    """Pre-norm transformer blocks."""
    how: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": True}
    how["activation"] = nn.GELU(approximate="tanh")
    return nn.ModuleList(nn.TransformerEncoderLayer(width, heads, 4 * width, **how) for _ in range(depth))


class MaskedAutoencoder(nn.Module):  # type: ignore[misc]
    """Predicts masked tokens from visible ones: tokens (B, L, values) of a grid, ids (B, N)."""

    def __init__(self, grid: tuple[int, ...], values: int, sizes: Sizes = SMALL) -> None:
        super().__init__()
        width, depth, heads, decoder_width, decoder_depth = sizes
        places = np.stack(np.unravel_index(np.arange(math.prod(grid)), grid), 1)
        self.register_buffer("places", torch.from_numpy(places).float())
        self.register_buffer("slopes", torch.tensor(SLOPES)[:, 3 - len(grid) :])
        self.register_buffer("encoder_positions", _positions(places, width))
        self.register_buffer("decoder_positions", _positions(places, decoder_width))
        self.embed, self.encoder = nn.Linear(values, width), blocks(width, heads, depth)
        self.norm, self.bridge = nn.LayerNorm(width), nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(decoder_width))
        self.decoder = blocks(decoder_width, len(SLOPES), decoder_depth)
        self.decoder_norm, self.head = nn.LayerNorm(decoder_width), nn.Linear(decoder_width, values)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)  # the first prediction is the mean

    def encode(self, tokens: Tensor, ids_keep: Tensor) -> Tensor:
        """Features of the visible tokens: (B, V, width)."""
        x = self.embed(pick(tokens, ids_keep)) + self.encoder_positions[ids_keep]
        for block in self.encoder:
            x = block(x)
        return self.norm(x)

    def forward(self, tokens: Tensor, ids_keep: Tensor, wanted: Tensor) -> Tensor:
        """The tokens `wanted`, predicted: (B, Q, values)."""
        seen, ids = self.bridge(self.encode(tokens, ids_keep)), torch.cat([ids_keep, wanted], 1)
        x = torch.cat([seen, self.mask_token.to(seen.dtype).expand(*wanted.shape, -1)], 1)
        x = x + self.decoder_positions[ids]
        places = self.places[ids]
        apart = (places[:, :, None] - places[:, None]).abs()
        bias = -(apart @ self.slopes.T).permute(0, 3, 1, 2).flatten(0, 1).to(x.dtype)
        for block in self.decoder:
            x = block(x, bias)
        return self.head(self.decoder_norm(x[:, ids_keep.shape[1] :]))


def pick(tokens: Tensor, ids: Tensor) -> Tensor:
    """The tokens ids (B, N) of (B, L, values)."""
    return torch.gather(tokens, 1, ids[..., None].expand(-1, -1, tokens.shape[-1]))


def moments(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each token's values, (B, N, 1): VideoMAE's normalised targets lack them."""
    return tokens.mean(-1, keepdim=True), (tokens.var(-1, keepdim=True) + 1e-4).sqrt()


def _positions(places: Any, width: int) -> Tensor:
    """Fixed sine and cosine positions, a share of the width for each axis: (L, width)."""
    share = width // places.shape[1] // 2
    angles = places[:, :, None] * 10000.0 ** (-np.arange(share) / share)
    waves = np.concatenate([np.sin(angles), np.cos(angles)], 2).reshape(len(places), -1)
    return torch.from_numpy(np.pad(waves, ((0, 0), (0, width - waves.shape[1])))).float()
