"""A small masked autoencoder in plain torch, after VideoMAE and AudioMAE.

The decoder is light. It predicts a random share of the masked tokens (VideoMAE V2's dual masking), and its
attention falls off with distance (ALiBi): a CPU need not learn first which tokens are neighbours.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

Sizes = tuple[tuple[int, int, int], tuple[int, int, int]]  # width, heads, depth: of encoder and decoder
SMALL, VIT_SMALL = ((64, 2, 3), (64, 4, 2)), ((384, 6, 12), (192, 4, 4))
# How fast the decoder's four heads forget distant tokens, along each axis
SLOPES = ((0.3, 2.0, 2.0), (0.7, 0.7, 0.7), (2.0, 1.0, 1.0), (0.2, 0.2, 0.2))


class MaskedAutoencoder(nn.Module):  # type: ignore[misc]
    """Predicts masked tokens from visible ones: tokens (B, L, values) of a grid, ids (B, N)."""

    def __init__(self, grid: tuple[int, ...], values: int, sizes: Sizes = SMALL) -> None:
        super().__init__()
        (width, *_), (decoder_width, *_) = sizes
        places = np.stack(np.unravel_index(np.arange(math.prod(grid)), grid), 1)
        waves_of_axis = -(-max(width, decoder_width) // (2 * len(grid)))
        frequencies = 1e-4 ** np.linspace(0, 1, waves_of_axis, endpoint=False)
        angles = places[:, None] * frequencies[:, None]
        waves = np.concatenate([np.sin(angles), np.cos(angles)], 2).reshape(len(places), -1)
        self.register_buffer("places", torch.from_numpy(places).float())
        self.register_buffer("waves", torch.from_numpy(waves).float())  # fixed positions, as MAE's
        self.register_buffer("slopes", torch.tensor(SLOPES)[:, 3 - len(grid) :])
        how: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.encoder, self.decoder = (
            nn.TransformerEncoder(
                nn.TransformerEncoderLayer(wide, heads, 4 * wide, activation=nn.GELU("tanh"), **how),
                depth, nn.LayerNorm(wide), enable_nested_tensor=False,
            ) for wide, heads, depth in sizes
        )  # fmt: skip
        self.embed, self.head = nn.Linear(values, width), nn.Linear(decoder_width, values)
        self.bridge = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(decoder_width))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.zeros_(self.head.weight)  # the first prediction is nearly the mean

    def encode(self, tokens: Any, ids_keep: Any) -> Any:
        """Features of the visible tokens: (B, V, width)."""
        x = self.embed(torch.take_along_dim(tokens, ids_keep[..., None], 1))
        return self.encoder(x + self.waves[ids_keep, : x.shape[-1]])

    def forward(self, tokens: Any, ids_keep: Any, wanted: Any) -> Any:
        """The tokens `wanted`, predicted: (B, Q, values)."""
        seen, ids = self.bridge(self.encode(tokens, ids_keep)), torch.cat([ids_keep, wanted], 1)
        x = torch.cat([seen, self.mask_token.to(seen.dtype).expand(*wanted.shape, -1)], 1)
        places = self.places[ids]
        apart = (places[:, :, None] - places[:, None]).abs()
        bias = -(apart @ self.slopes.T).permute(0, 3, 1, 2).flatten(0, 1)
        x = self.decoder(x + self.waves[ids, : x.shape[-1]], bias, is_causal=False)
        return self.head(x[:, ids_keep.shape[1] :])
