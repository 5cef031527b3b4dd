"""One call for every method of the config.

It takes views and settings, and returns maps and what the ledger records.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcim.attribution.pcim import PCIM
from pcim.attribution.peers import Peer
from pcim.classifiers.contract import ModelError
from pcim.classifiers.forward import checked_images
from pcim.classifiers.log_odds import target_probability
from pcim.classifiers.out_of_memory import each_halving
from pcim.classifiers.randomisation import shuffle_parameters
from pcim.composites.baselines import background_kind, make_background

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pcim.classifiers.classifier import Classifier
    from pcim.config.stages import AttributeSettings


@dataclass(frozen=True)
class Attribution:
    """A method's answer for n views: maps a channel (n, c or 1, h, w), >= 0, arrays stored beside them, and the record.

    `record` holds one number a view by the ledger's column; `stop` says why the optimisation of each view ended; `batch_size` is how
    many views went through the classifier at once.
    """

    channel_maps: Tensor
    record: dict[str, Tensor]
    stop: Sequence[str]
    batch_size: int
    beside: dict[str, Tensor] = field(default_factory=dict)


def classifier_for(method: str, classifier: Classifier) -> Classifier:
    """Return the classifier that a method asks: itself, or for ``randomised_model`` one whose parameters are shuffled, made once.

    Raises
    ------
    ModelError
        When there are no parameters to shuffle.
    """
    if method != "randomised_model":
        return classifier
    if not any(True for _ in classifier.network.parameters()):
        raise ModelError(f"{method}: {classifier.contract.weights} has no parameters that could be shuffled, but constants")
    return replace(classifier, network=shuffle_parameters(classifier.network, key=0))


def explain_each(  # noqa: PLR0913, PLR0917 - what a map depends on
    classifier: Classifier,
    method: str,
    images: Tensor,
    targets: Tensor,
    keys: Sequence[int],
    settings: AttributeSettings,
) -> Iterator[tuple[list[int], Attribution]]:
    """Explain normalised views (n, c, h, w) by a method of the config, and yield views (their numbers) as they are done.

    `settings.batch_size` of them are explained at a time, or fewer where the device's memory is too small. `classifier` is the one that
    `classifier_for` returns for the method.
    """
    if method in {"pcim", "pcim_literal", "randomised_model"}:
        return _by_pcim(classifier, method, images, targets, settings)

    def work(items: list[int], size: int) -> Iterator[tuple[list[int], Attribution]]:
        for part in (items[start : start + size] for start in range(0, len(items), size)):
            chosen = [keys[item] for item in part]
            yield part, _by_peer(classifier, method, images[part], targets[part], chosen, settings, size)

    return each_halving(work, len(images), settings.batch_size)


def _by_peer(  # noqa: PLR0913, PLR0917 - what a map depends on
    classifier: Classifier,
    method: str,
    images: Tensor,
    targets: Tensor,
    keys: Sequence[int],
    settings: AttributeSettings,
    size: int,
) -> Attribution:
    images = checked_images(images)
    kind = background_kind(settings.background, classifier.contract.input)
    backgrounds = make_background(images, kind, settings.blur)
    peer = Peer(method, classifier, background=backgrounds, settings=settings.peers, batch_size=size)
    with peer.forward.frozen_state():
        logits = peer.forward.in_batches(torch.cat([images, backgrounds]), size)
        peer.forward.check_values(logits[: len(images)])
    maps = peer.channel_maps(images, targets, keys=keys)
    p_image, p_background = target_probability(logits, targets.repeat(2)).chunk(2)
    record = {"p_image": p_image, "p_background": p_background, "steps": torch.zeros_like(targets)}
    return Attribution(maps, record, [""] * len(images), size)


def _by_pcim(
    classifier: Classifier, method: str, images: Tensor, targets: Tensor, settings: AttributeSettings
) -> Iterator[tuple[list[int], Attribution]]:
    if method != "pcim_literal":
        choices = {"background": settings.background, "blur": settings.blur, **settings.pcim.model_dump()}
        choices["budget"] = settings.forward_passes
    else:
        choices = {"preset": "literal"}
    for items, learned in PCIM(classifier, batch_size=settings.batch_size, **choices).learn_each(images, targets):
        last = (learned.steps - 1).clamp(min=0)[:, None]
        record = {name: getattr(learned, name) for name in ("p_image", "p_keep", "p_drop", "p_background", "p_drop_background")}
        record |= {
            "loss_first": learned.losses[:, 0],
            "loss_last": learned.losses.gather(1, last)[:, 0],
            "steps": learned.steps,
        }
        beside = {"weights": learned.weights}
        yield items, Attribution(learned.channel_maps, record, learned.stop, learned.batch_size, beside)
