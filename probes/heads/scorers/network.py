"""The joint network: one classifier of functions over all heads at once, how it is trained, and what it leans on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor, nn

from interp.errors import InputError
from interp.store.progress import ProgressBar

SHARED, HIDDEN, DROPOUT = 64, 512, 0.3
"""Widths of the map that all heads share and of the hidden layer, and the share of it that is dropped in training."""

EPOCHS, RATE, DECAY = 100, 1e-4, 0.01
"""How often every item is seen, and learning rate and weight decay of AdamW, in steps of one item, in their order."""

LOSSES = ("ce", "bce")
"""`ce`: cross-entropy of one function for each item; `bce`: binary cross-entropy of every function by itself."""


class JointNetwork(nn.Module):
    """Functions from the features of all heads: a linear map that heads share, one hidden layer, one logit a function.

    "Attention in Space" (arXiv 2603.20662) and CogQA (arXiv 2512.10978): p_j = A x_j + a for each head j, side by side
    into a hidden layer with ReLU and dropout, and from there to the functions.

    Example:
        >>> JointNetwork(n_heads=1024, width=256, n_functions=8)(features).shape  # features [item head feature]
        torch.Size([4, 8])
    """

    def __init__(self, n_heads: int, width: int, n_functions: int, *, dropout: float = DROPOUT) -> None:
        """Draw the weights of so many heads with features of this width, as torch draws those of linear layers."""
        super().__init__()
        self.shared = nn.Linear(width, SHARED)
        self.hidden = nn.Linear(SHARED * n_heads, HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(HIDDEN, n_functions)

    def forward(self, features: Float[Tensor, "item head feature"]) -> Float[Tensor, "item function"]:
        """The logit of each function."""
        return self.read(self.shared(features))

    def read(self, projected: Float[Tensor, "item head shared"]) -> Float[Tensor, "item function"]:
        """The same from what the shared map gives."""
        hidden = torch.relu(self.hidden(rearrange(projected, "item head shared -> item (head shared)")))
        return self.out(self.dropout(hidden))


def train_network(
    network: JointNetwork,
    features: Callable[[Int[np.ndarray, " row"]], Float32[np.ndarray, "row head feature"]],
    labels: Bool[np.ndarray, "item function"],
    *,
    loss: str = "ce",
    epochs: int = EPOCHS,
    batch: int = 1,
    rate: float = RATE,
    decay: float = DECAY,
    progress: bool = False,
) -> tuple[float, ...]:
    """Train a network in place: every epoch all items in their order, and the model of the last epoch is kept.

    Args:
        network: the network.
        features: gives the features of some items by their places.
        labels: which functions each item is of; by `ce` one for each.
        loss: one of `LOSSES`.
        epochs: how often every item is seen.
        batch: items of a step.
        rate: the learning rate.
        decay: the weight decay of AdamW.
        progress: show a progress bar over epochs.

    Returns:
        The mean loss of each epoch, while it is trained.

    Raises:
        InputError: no such loss, or `ce` and an item of several functions or of none.
    """
    check_loss(loss, labels)
    steps = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)
    targets = torch.from_numpy(labels.argmax(axis=1)) if loss == "ce" else torch.from_numpy(labels.astype(np.float32))
    apart = nn.CrossEntropyLoss() if loss == "ce" else nn.BCEWithLogitsLoss()
    parts = [np.arange(place, min(place + batch, len(labels))) for place in range(0, len(labels), batch)]
    losses = []
    with torch.enable_grad():
        network.train()
        for _ in ProgressBar(range(epochs), desc="joint network", unit="epoch", disable=not progress):
            total = 0.0
            for rows in parts:
                steps.zero_grad()
                found = apart(network(torch.from_numpy(features(rows))), targets[rows])
                found.backward()
                steps.step()
                total += found.item() * len(rows)
            losses.append(total / len(labels))
    network.eval()
    return tuple(losses)


def importance(
    network: JointNetwork, features: Float32[np.ndarray, "item head feature"], function: int
) -> Float32[np.ndarray, "item head"]:
    """Gradient times activation of each head for one function's logit, summed over the shared map's dimensions.

        I_j = sum_d (d y_c / d p_jd) p_jd

    The papers' number is the mean over the dimensions: this over `SHARED`.

    Args:
        network: the network; dropout is off.
        features: the features of items of the function.
        function: its place.
    """
    network.eval()
    with torch.enable_grad():
        projected = network.shared(torch.from_numpy(features)).detach().requires_grad_()
        (slope,) = torch.autograd.grad(network.read(projected)[:, function].sum(), projected)
    return (slope * projected.detach()).sum(dim=2).numpy()


def predicted(
    network: JointNetwork, features: Float32[np.ndarray, "item head feature"]
) -> Float32[np.ndarray, "item function"]:
    """The logits of items, dropout off."""
    network.eval()
    with torch.no_grad():
        return network(torch.from_numpy(features)).numpy()


def check_loss(loss: str, labels: Bool[np.ndarray, "item function"]) -> None:
    """Refuse a loss that is not known, or that these labels can not have.

    Raises:
        InputError: one of the two.
    """
    if loss not in LOSSES:
        raise InputError(f"loss={loss!r} is not known: use one of {', '.join(LOSSES)}")
    if loss == "ce" and (bad := int((labels.sum(axis=1) != 1).sum())):
        raise InputError(
            f"loss='ce' needs one function for each item, and {bad} of {len(labels)} have several or none: name the "
            "main one of each with primary, or use loss='bce'"
        )
