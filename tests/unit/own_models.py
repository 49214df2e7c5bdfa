"""Networks as users write them, for the tests of one's own: some that work, and mistakes."""

from __future__ import annotations

import torch
from torch import nn


class Tokens(nn.Module):
    """A transformer of one block: a convolution, tokens, attention, layer norm."""

    def __init__(self, channels: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, 4, 4)
        self.places = nn.Parameter(0.02 * torch.randn(1, 4, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits; images are 8 x 8."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.places
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.mlp(x).relu()).mean(1))


def mobile(channels: int, classes: int, dropout: float = 0.0) -> nn.Module:
    """Return depthwise and pointwise convolutions with batch norm; ``view`` wants them plain."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.Conv2d(6, 8, 1),
        Viewed(),
        nn.Dropout(dropout),
        nn.Linear(128, classes),
    )


class Viewed(nn.Module):
    """What people write in place of flatten."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features [N, F]."""
        return x.view(x.size(0), -1)


class Deciding(nn.Module):
    """Decides by the values of a tensor, which no vmap can."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.inner = nn.Linear(64 * channels, 8)
        self.last = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = self.inner(images.flatten(1))
        return self.last(x if x.sum() > 0 else x.relu())


class Wrong(nn.Module):
    """Does one thing wrong, which ``mistake`` names."""

    def __init__(self, channels: int, classes: int, mistake: str) -> None:
        super().__init__()
        self.mistake = mistake
        self.inner = nn.Linear(64 * channels, 8)
        self.head = nn.Linear(8, 3 if mistake == "shape" else classes)
        if mistake == "raises":
            raise KeyError("width")
        if mistake == "tied":
            self.other = nn.Linear(64 * channels, 8)
            self.other.weight = self.inner.weight
        if mistake == "unused":
            self.spare = nn.Linear(2, 2)
        if mistake == "half":
            self.half()
        if mistake == "lazy":
            self.inner = nn.LazyLinear(8)
        if mistake == "nobody":
            self.scale = nn.Parameter(torch.full((8,), torch.nan))
        if mistake == "unseeded":
            own = torch.Generator()
            own.seed()
            nn.init.uniform_(self.inner.weight, generator=own)
        if mistake == "hidden":
            self.hidden = torch.rand(8)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor]:
        """Return logits, but for the mistake."""
        x = self.inner(images.flatten(1))
        if self.mistake == "tied":
            x = x + self.other(images.flatten(1))
        if self.mistake == "hidden":
            x = x * self.hidden
        if self.mistake == "nobody":
            x = x * self.scale
        if self.mistake == "replaces" and self.training:
            self.seen = self.seen + 1
        if self.mistake == "view":
            return self.head(x.view(3, -1))
        found = self.head(x)
        return (found,) if self.mistake == "tuple" else found


def no_module(channels: int, classes: int) -> dict[str, int]:
    """Return no module."""
    return {"channels": channels, "classes": classes}


def features(channels: int) -> nn.Module:
    """Return a module in which nothing has an output for each class."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, 16), nn.Unflatten(1, (4, 4)),
                         nn.AvgPool1d(4), nn.Flatten())  # fmt: skip
