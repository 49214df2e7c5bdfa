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


class Joined(nn.Module):
    """Adds, concatenates, convolves each channel by itself, weighs channels and flattens."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.b = nn.Conv2d(4, 6, 3, padding=1)
        self.c = nn.Conv2d(6, 6, 1)
        self.gate = nn.Linear(6, 6)
        self.each = nn.Conv2d(10, 10, 3, padding=1, groups=10, bias=False)
        self.behind = nn.BatchNorm2d(10)
        self.last = nn.Conv2d(10, 5, 1)
        self.hidden = nn.Linear(5 * 16, 7)
        self.head = nn.Linear(7, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits; images are 8 x 8."""
        a = self.norm(self.a(images)).relu()
        b = self.b(a)
        c = self.c(torch.nn.functional.gelu(b))
        c += b
        b = c * self.gate(c.mean((2, 3)))[:, :, None, None].sigmoid()
        x = torch.cat([a, b], dim=1)
        x = self.last(self.behind(self.each(x)))
        x = torch.nn.functional.max_pool2d(x, 2)
        return self.head(self.hidden(x.view(len(x), -1)).relu())


class Stubborn(nn.Module):
    """Has sizes of its own in places, a convolution of two groups, and channels by number."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.free = nn.Conv2d(channels, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 8, 3, padding=1, groups=2)
        self.padded = nn.Conv2d(8, 12, 3, padding=1)
        self.taken = nn.Conv2d(12, 6, 1)
        self.inner = nn.Conv2d(12, 10, 1)
        self.viewed = nn.Conv2d(10, 6, 1)
        self.head = nn.Linear(6 * 64 + 2 * 64, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits; images are 8 x 8."""
        x = self.grouped(self.free(images).relu())
        x = self.padded(x) + torch.nn.functional.pad(x, (0, 0, 0, 0, 2, 2))
        taken = self.taken(x)[:, :2]
        x = self.viewed(self.inner(x).relu())
        return self.head(torch.cat([x.view(-1, 384), taken.flatten(1)], 1))


class Apart(nn.Conv2d):
    """Adds its bias by itself, as a layer that does something to its weight before."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what a convolution does."""
        return torch.nn.functional.conv2d(x, self.weight) + self.bias.view(1, -1, 1, 1)


class Spelled(nn.Module):
    """Names arguments, adds a bias apart, and uses the weights of layers that it does not call."""

    def __init__(self, channels: int, classes: int, cast: bool = False) -> None:
        super().__init__()
        self.cast = cast
        self.a = nn.Conv2d(channels, 4, 3, padding=1)
        self.steep = nn.PReLU()
        self.b = nn.Conv2d(4, 5, 1)
        self.apart = Apart(9, 6, 1)
        self.c = nn.Conv2d(6, 7, 1)
        self.silent = nn.Conv2d(7, 7, 1)
        self.last = nn.Conv2d(7, 8, 1)
        self.head = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        a = torch.prelu(input=self.a(images), weight=self.steep.weight)
        x = torch.cat(tensors=[a, self.b(a)], dim=1)
        x = self.c(self.apart(torch.permute(input=x, dims=(0, 1, 3, 2))).relu())
        x = x + torch.nn.functional.conv2d(x, self.silent.weight, self.silent.bias)
        x = self.last(x.float() if self.cast else x).mean(axis=(2, 3), keepdims=True)
        return self.head(torch.flatten(input=x, start_dim=1))


class Block(nn.Module):
    """A transformer's block as the field writes it: norms before attention and hidden units."""

    def __init__(self, channels: int, classes: int, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, 4, 4)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))
        self.head = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits; images are 8 x 8."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.mlp(self.norms[1](x))
        return self.head(x.mean(dim=1))


class _Doubled(torch.autograd.Function):
    """A function that says its gradient, and no more than that."""

    @staticmethod
    def forward(ctx, given):
        """Return twice what is given."""
        return 2 * given

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        """Return its gradient."""
        return 2 * gradient


class Once(nn.Module):
    """Can be differentiated once."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.inner = nn.Linear(64 * channels, 8)
        self.head = nn.Linear(8, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.head(_Doubled.apply(self.inner(images.flatten(1)).tanh()))
