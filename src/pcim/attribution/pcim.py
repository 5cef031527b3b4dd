"""The class `PCIM`, called as other attribution libraries are.

`attribute(images, target)` returns maps, and `learn` the whole record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pcim.attribution.batch_size import views_that_fit
from pcim.attribution.blending import drop, keep
from pcim.attribution.forward_only import SMALLEST_BUDGET, estimate
from pcim.attribution.maps import Maps
from pcim.attribution.optimiser import Blend, learn, learn_each, learn_literal, read_out
from pcim.attribution.result import Answer, PcimResult
from pcim.classifiers.contract import Contract
from pcim.classifiers.forward import as_forward, checked_images, key_of, pad_batch, resolve_targets
from pcim.classifiers.log_odds import target_probability
from pcim.classifiers.out_of_memory import each_halving, halving_when_out_of_memory
from pcim.composites.baselines import black, two_backgrounds
from pcim.config.methods import PcimSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxtyping import Float, Int

    from pcim.classifiers.forward import Forward, OutputKind
    from pcim.composites.baselines import Backgrounds
    from pcim.config.methods import Background

Precision = Literal["auto", "float32", "bfloat16"]


class PCIM:
    """Pixel-wise Channel Isolation Mixing of a frozen classifier, as docs/method.md specifies it.

    Parameters
    ----------
    classifier
        A `torch.nn.Module`, a `pcim.classifiers.classifier.Classifier`, a TorchScript module, a `torch.export` program, an ONNX Runtime
        session, or any function from a NumPy batch (b, c, h, w) to scores (b, k). The last two kinds have no gradient: they
        are explained by forward passes alone.
    preset
        ``default``, or ``literal``: what the paper's abstract says and no more.
    background
        What a pixel becomes at weight 0: ``auto`` (keep lies over the image's own blur, drop sinks into 0, the training mean),
        ``mean`` (0), ``blur``, a number, or a tensor that broadcasts to the images. The literal preset's ``auto`` is
        intensity 0 where the classifier's contract tells its place, else 0.
    blur
        Standard deviation of the blur, as a share of the image's height.
    scores
        What the classifier returns: ``logits`` or ``probabilities``.
    batch_size
        Images at a time (a forward pass takes two of each). None: from the free memory of a GPU; 8 on a CPU.
    budget
        Forward passes an image where there is no gradient.
    precision
        ``bfloat16`` runs the classifier under autocast, weights and losses stay float32; ``auto`` does so on GPUs.
    **overrides
        Settings of the default preset, see `pcim.config.methods.PcimSettings`.

    Raises
    ------
    TypeError
        When the classifier is nothing that can be explained.
    pydantic.ValidationError
        When an override is unknown or out of its range.
    ValueError
        When another choice is not what is allowed; names all of them.
    """

    def __init__(  # noqa: PLR0913 - a public constructor with defaults
        self,
        classifier: Any,
        *,
        preset: Literal["default", "literal"] = "default",
        background: Background | float | Tensor = "auto",
        blur: float = 0.125,
        scores: OutputKind = "logits",
        batch_size: int | None = None,
        budget: int = 1000,
        precision: Precision = "auto",
        **overrides: Any,
    ) -> None:
        self.forward = as_forward(classifier, scores=scores)
        contract = getattr(classifier, "contract", None)
        self.contract = contract if isinstance(contract, Contract) else None
        self.preset, self.background, self.blur = preset, background, blur
        self.batch_size, self.budget, self.precision = batch_size, budget, precision
        self.settings = PcimSettings(**overrides)
        self._check(overrides)

    def _check(self, overrides: dict[str, Any]) -> None:
        faults = []
        if self.preset not in {"default", "literal"}:
            faults.append(f"preset is {self.preset!r}; allowed: 'default' or 'literal'")
        if self.preset == "literal" and overrides:
            faults.append(f"{sorted(overrides)}: the literal preset has no settings")
        if self.preset == "literal" and not self.forward.differentiable:
            faults.append("the literal preset needs a gradient; allowed without one: preset='default'")
        if not 0 < self.blur <= 1:
            faults.append(f"blur is {self.blur}; allowed: above 0, to 1 (a share of the height)")
        if self.batch_size is not None and self.batch_size < 1:
            faults.append(f"batch_size is {self.batch_size}; allowed: 1 or more")
        if self.budget < SMALLEST_BUDGET:
            faults.append(f"budget is {self.budget}; allowed: {SMALLEST_BUDGET} forward passes or more")
        if self.precision not in {"auto", "float32", "bfloat16"}:
            faults.append(f"precision is {self.precision!r}; allowed: 'auto', 'float32' or 'bfloat16'")
        if faults:
            raise ValueError("; ".join(faults))

    def attribute(self, images: Float[Tensor, "b c h w"], target: int | Sequence[int] | Tensor | None = None) -> Maps:
        """Return the attribution maps (b, 1, h, w) of normalised images, >= 0, on the images' device: a tensor with `plot`.

        `target` is the class to explain: None for the call of each image, an int for all, a list or tensor (b,) for each.
        Raises as `learn` does.
        """
        learned = self.learn(images, target)
        contract, targets = self.contract, learned.targets.tolist()
        channels = contract.input.channels if contract else [f"channel {n}" for n in range(images.shape[1])]
        names = [contract.classes[n] if contract else f"class {n}" for n in targets]
        method = "pcim" if self.preset == "default" else "pcim_literal"
        ledger = learned.table().assign(target=names, method=method)
        return Maps.of(checked_images(images), learned.channel_maps, ledger, channels)

    def learn(
        self,
        images: Float[Tensor, "b c h w"],
        target: int | Sequence[int] | Tensor | None = None,
        *,
        keys: Sequence[int] | None = None,
        segments: Int[Tensor, "b h w"] | None = None,
    ) -> PcimResult:
        """Learn the blend of each image and return the whole record.

        An image's result depends on that image, the classifier and the settings alone. `keys` and `segments` matter without
        a gradient only: an image's key draws its masks (None: a digest of its pixels), and its segments (integers >= 0, at most
        256 an image) replace the grid.

        Raises
        ------
        ValueError
            When images, target, keys or segments are not what is allowed; names the value and what is allowed.
        pcim.classifiers.forward.ScoresError
            When the classifier's answer is no scores.
        """
        images = checked_images(images)
        forward = self.forward.with_autocast(self._dtype(images))
        with forward.frozen_state():
            size = self.batch_size or views_that_fit(forward, images, self.settings)
            learned, _ = halving_when_out_of_memory(lambda n: self._learn(forward, images, target, keys, segments, n), size)
            return learned

    def learn_each(self, images: Float[Tensor, "b c h w"], targets: Int[Tensor, " b"]) -> Iterator[tuple[list[int], PcimResult]]:
        """Learn as `learn` does, and yield images (their numbers) with their record as they are done.

        At most one batch of images is begun and not yet handed over. Where the device's memory is too small, the images that are left
        go on with half as many at once.
        """
        images = checked_images(images)
        forward = self.forward.with_autocast(self._dtype(images))
        with forward.frozen_state():
            size = self.batch_size or views_that_fit(forward, images, self.settings)

            def work(items: list[int], size: int) -> Iterator[tuple[list[int], PcimResult]]:
                if self.preset == "default" and forward.differentiable:
                    found = self._learn_each(forward, images[items], targets[items], size)
                    yield from (([items[n] for n in numbers], learned) for numbers, learned in found)
                    return
                for part in (items[start : start + size] for start in range(0, len(items), size)):
                    yield part, self._learn(forward, images[part], targets[part], None, None, size)

            yield from each_halving(work, len(images), size)

    def _learn_each(self, forward: Forward, images: Tensor, targets: Tensor, size: int) -> Iterator[tuple[list[int], PcimResult]]:
        backgrounds = self._backgrounds(images)
        for views, blend in learn_each(forward, images, backgrounds, targets, self.settings, size, at_risk=size):
            these, wanted = images[views], targets[views]
            here = backgrounds[0][views], backgrounds[1][views]
            logits = forward.in_batches(these, 2 * size, checked=True)
            yield (
                views.tolist(),
                self._record(forward, these, here, wanted, logits, self._answer_of(these, here, blend), size),
            )

    def _dtype(self, images: Tensor) -> torch.dtype | None:
        wanted = self.precision == "bfloat16" or (self.precision == "auto" and images.device.type == "cuda")
        return torch.bfloat16 if wanted and self.forward.differentiable else None

    def _learn(  # noqa: PLR0913, PLR0917 - what `learn` was given
        self, forward: Forward, images: Tensor, target: Any, keys: Any, segments: Any, size: int
    ) -> PcimResult:
        logits = forward.in_batches(images, 2 * size, checked=True)
        targets = resolve_targets(target, logits)
        backgrounds = self._backgrounds(images)
        if self.preset == "literal":
            answer = self._literal(forward, images, backgrounds[0], targets, size)
        elif forward.differentiable:
            answer = self._by_gradient(forward, images, backgrounds, targets, size)
        else:
            answer = self._by_forwards(forward, images, backgrounds, targets, keys, segments, size)
        return self._record(forward, images, backgrounds, targets, logits, answer, size)

    def _record(  # noqa: PLR0913, PLR0917 - all that is known of some images
        self,
        forward: Forward,
        images: Tensor,
        backgrounds: Backgrounds,
        targets: Tensor,
        logits: Tensor,
        answer: Answer,
        size: int,
    ) -> PcimResult:
        kept, rest = keep(images, backgrounds[0], answer.weights), drop(images, backgrounds[1], answer.weights)
        asked = torch.cat([kept, rest, *backgrounds])
        p = target_probability(forward.in_batches(asked, 2 * size), targets.repeat(4)).view(4, -1)
        of_channels = answer.channel_maps.sum((2, 3))
        return PcimResult(
            maps=answer.channel_maps.sum(1, keepdim=True),
            channel_maps=answer.channel_maps,
            channel_importance=of_channels / of_channels.sum(1, keepdim=True).clamp(min=1e-30),
            weights=answer.weights,
            losses=answer.losses,
            steps=answer.steps,
            stop=answer.stop,
            targets=targets,
            p_image=target_probability(logits, targets),
            p_keep=p[0],
            p_drop=p[1],
            p_background=p[2],
            p_drop_background=p[3],
            mode="gradient" if forward.differentiable else "forward only",
            batch_size=size,
        )

    def _backgrounds(self, images: Tensor) -> Backgrounds:
        if self.preset == "default" or self.background != "auto":
            return two_backgrounds(images, self.background, self.blur)
        background = torch.zeros_like(images) if self.contract is None else black(images, self.contract.input)
        return background, background

    def _by_gradient(self, forward: Forward, images: Tensor, backgrounds: Backgrounds, targets: Tensor, size: int) -> Answer:
        return self._answer_of(images, backgrounds, learn(forward, images, backgrounds, targets, self.settings, size))

    @staticmethod
    def _answer_of(images: Tensor, backgrounds: Backgrounds, blend: Blend) -> Answer:
        contrast = (images - backgrounds[1]).abs().sum(1, keepdim=True)
        maps = read_out(blend.weights, blend.evidence, contrast)
        stop = ["settled" if settled else "step limit" for settled in blend.settled.tolist()]
        return Answer(maps, blend.weights, blend.losses, blend.steps, stop)

    def _literal(self, forward: Forward, images: Tensor, background: Tensor, targets: Tensor, size: int) -> Answer:
        parts = [
            learn_literal(forward, *(pad_batch(part, size) for part in parts))
            for parts in zip(images.split(size), background.split(size), targets.split(size), strict=True)
        ]
        weights, losses = (torch.cat(one)[: len(images)] for one in zip(*parts, strict=True))
        steps = torch.full_like(targets, losses.shape[1])
        return Answer(weights, weights, losses, steps, ["step limit"] * len(images))

    def _by_forwards(  # noqa: PLR0913, PLR0917 - what `learn` was given
        self,
        forward: Forward,
        images: Tensor,
        backgrounds: Backgrounds,
        targets: Tensor,
        keys: Any,
        segments: Any,
        size: int,
    ) -> Answer:
        keys = [key_of(image) for image in images] if keys is None else keys
        weights, maps = estimate(forward, images, backgrounds, targets, keys, self.budget, segments, 2 * size)
        losses = images.new_full((len(images), self.settings.steps), torch.nan)
        maps = maps / maps.mean((2, 3), keepdim=True).sum(1, keepdim=True).clamp(min=1e-30)
        return Answer(maps, weights, losses, torch.zeros_like(targets), ["budget"] * len(images))
