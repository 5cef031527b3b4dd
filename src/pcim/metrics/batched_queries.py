"""Questions about images that are made from views, which a frozen classifier answers in one stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64  # noqa: TC002 - tests check shapes at run time
from torch import Tensor

from pcim.classifiers.forward import pad_batch
from pcim.classifiers.log_odds import log_odds

Classify = Callable[[Tensor], Tensor]
"""Images (b, c, h, w) to logits (b, k)."""


@dataclass(frozen=True)
class Question:
    """Images that are yet to be made: `views` (n,) says of which view each is, `make` turns numbers of them into images."""

    views: Int64[Tensor, " n"]
    make: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Probe:
    """A classifier and views (b, c, h, w), each with the class that is asked about.

    Answers are log-odds of that class, log(p / (1 - p)): their sigmoid is its probability, and they do not saturate where p does.
    The classifier is always called with exactly `batch_size` images, the last batch filled up with repeats, and without gradients.

    Raises
    ------
    ValueError
        When `batch_size` is below 1 or there is not one target a view.
    """

    classify: Classify
    images: Float[Tensor, "b c h w"]
    targets: Int64[Tensor, " b"]
    batch_size: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}; allowed: 1 or more")
        if self.targets.shape != self.images.shape[:1]:
            raise ValueError(f"targets are {tuple(self.targets.shape)}; allowed: one a view, ({len(self.images)},)")

    @property
    def views(self) -> Int64[Tensor, " b"]:
        """The numbers of the views."""
        return torch.arange(len(self.images), device=self.images.device)

    @cached_property
    def plain(self) -> Float[Tensor, " b"]:
        """The log-odds of the views as they are."""
        return self.ask([Question(self.views, lambda rows: self.images[rows])])[0]

    @torch.no_grad()
    def ask(self, questions: Sequence[Question]) -> list[Float[Tensor, " n"]]:
        """Return the log-odds of every question's images; batches run on from one question to the next."""
        lengths = [len(question.views) for question in questions]
        total, found = sum(lengths), []
        for start in range(0, total, self.batch_size):
            stop = min(start + self.batch_size, total)
            images = torch.cat(self._make_images(questions, start, stop))
            batch = images if len(images) == self.batch_size else pad_batch(images, self.batch_size)  # a full one needs no copy
            found.append(self.classify(batch)[: stop - start].float())
        views = torch.cat([question.views for question in questions])
        odds = log_odds(torch.cat(found), self.targets[views]) if found else self.images.new_zeros(0)
        return list(odds.split(lengths))

    def _make_images(self, questions: Sequence[Question], start: int, stop: int) -> list[Tensor]:
        """Make the images from number `start` to `stop` of all questions one after another."""
        made, first = [], 0
        for question in questions:
            rows = range(max(start - first, 0), min(stop - first, len(question.views)))
            if rows:
                made.append(question.make(torch.arange(rows.start, rows.stop, device=self.images.device)))
            first += len(question.views)
        return made
