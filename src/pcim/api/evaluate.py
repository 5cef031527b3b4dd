"""Evaluation from Python. `evaluate` measures maps with the functions of the workflow's stage, without a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from pcim.api.plate import Plate
from pcim.attribution.maps import Maps
from pcim.attribution.peers import backgrounds_given
from pcim.classifiers.classifier import as_a_job
from pcim.classifiers.forward import as_forward, checked_images, key_of, resolve_targets
from pcim.config.classifier import Region
from pcim.config.stages import EvaluateSettings
from pcim.core.identity import KEY_COLUMNS, ViewKey
from pcim.core.tiling import Box
from pcim.metrics.score_view import Case, score_images
from pcim.plates.field_image import FieldImage
from pcim.runtime.tables import rows_of
from pcim.views.reader import read_regions
from pcim.views.resize import fit_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from pcim.classifiers.forward import OutputKind
    from pcim.config.methods import Background


def evaluate(  # noqa: PLR0913 - a public function with defaults
    maps: Maps | Tensor | Mapping[str, Maps | Tensor],
    images: Tensor | Plate,
    classifier: Any,
    target: int | Sequence[int] | Tensor | None = None,
    *,
    objects: NDArray[np.bool_] | Tensor | str | None = None,
    background: Background = "auto",
    scores: OutputKind = "logits",
    settings: EvaluateSettings | None = None,
) -> pd.DataFrame:
    """Measure whether the classifier follows its maps (fidelity), where they lie (localization), and how spread they are.

    The same code as the workflow's; docs/method.md defines every metric, `pcim.core.vocabulary.METRICS` says which direction is good.
    Each map is measured beside its own blurred self, a control that it must beat, and beside the mask of the objects.

    Parameters
    ----------
    maps
        Maps (n, 1, h, w) or (n, h, w), >= 0, higher = more important; or several methods' maps of the same images by name.
    images
        The images (n, c, h, w), normalised; or, for maps from `attribute_plate`, the plate.
    classifier
        Whatever `PCIM` takes.
    target
        The class whose probability is followed, an int or one for each image. None: what the maps explain, or else the call.
    objects
        Where the biology is, True inside: (n, h, w); of a plate the name of a label image. None: no localization.
    background
        What the methods were given as background; fidelity with a substitute of that kind is told as `seen`.
    scores
        What the classifier returns: ``logits`` or ``probabilities``.
    settings
        The config's `evaluate`; its defaults where none is given.

    Returns
    -------
    pandas.DataFrame
        A row an image, method, metric and substitute (what removed pixels became): `value`, and `chance`, what a map that knows
        nothing gets, NaN where there is no such number. Images are named by the columns that name a view, else by `image`.

    Raises
    ------
    ValueError
        When shapes do not fit, values are not finite or negative, or a class does not exist; names them.
    """
    settings, forward = settings or EvaluateSettings(), as_forward(classifier, scores=scores)
    methods = _by_method(maps)
    first = next(iter(methods.values()))
    fed = checked_images(_images(first, images)).to(getattr(classifier, "device", None))
    arrays = {method: _array(method, of, fed) for method, of in methods.items()}
    masks = _masks(objects, images, first, fed)
    contract = getattr(classifier, "contract", None)
    given = partial(backgrounds_given, chosen=background, contract=contract.input if contract else None)
    rows = []
    with as_a_job(fed.device), forward.frozen_state():
        targets = _targets(target, first, classifier, forward.in_batches(fed, settings.batch_size, checked=True))
        for number, named in enumerate(_names(first, images, len(fed))):
            key = ViewKey.from_row(named) if "view" in named else ViewKey("", "", "", "", str(key_of(fed[number])))
            case = Case(
                key,
                fed[number].cpu().numpy(),
                str(int(targets[number])),
                {method: array[number] for method, array in arrays.items()},
                None if masks is None else masks[number],
                read=next(iter(arrays)),
            )
            here = slice(number, number + 1)
            found, _ = score_images(forward, fed[here], targets[here], case, settings, given)
            rows += [named | row for row in found]
    return pd.DataFrame(rows)


def _by_method(maps: Maps | Tensor | Mapping[str, Maps | Tensor]) -> dict[str, Maps | Tensor]:
    """Return maps by the name of their method."""
    if isinstance(maps, Mapping):
        if not maps:
            raise ValueError("no maps; allowed: one method or more")
        return dict(maps)
    if isinstance(maps, Maps) and len(maps):
        return {str(maps.rows["method"].iloc[0]): maps}
    return {"maps": maps}


def _images(maps: Maps | Tensor, images: Tensor | Plate) -> Tensor:
    if not isinstance(images, Plate):
        return images
    if not isinstance(maps, Maps) or "view" not in maps.rows:
        raise ValueError("images is a plate; allowed then: maps from attribute_plate, which know their views")
    return maps.images


def _array(method: str, maps: Tensor, fed: Tensor) -> NDArray[np.float32]:
    """Return maps as (n, h, w); raises as `evaluate`."""
    values = torch.as_tensor(maps).detach().cpu().float()
    values = values[:, 0] if values.ndim == 4 and values.shape[1] == 1 else values  # noqa: PLR2004 - (n, 1, h, w)
    expected = (len(fed), *fed.shape[-2:])
    if tuple(values.shape) != expected:
        raise ValueError(f"maps of {method} are {tuple(maps.shape)}; allowed for these images: {expected}, or with 1 after the first")
    if not bool(values.isfinite().all()) or bool((values < 0).any()):
        raise ValueError(f"maps of {method} hold values that are negative or not finite; allowed: finite, >= 0")
    found: NDArray[np.float32] = values.numpy()
    return found


def _targets(target: Any, maps: Maps | Tensor, classifier: Any, logits: Tensor) -> Tensor:
    """Return the class (n,) that is followed of each image."""
    if target is None and isinstance(maps, Maps):
        told = maps.rows
        target = told["class_index"].tolist() if "class_index" in told else classifier.class_index(told["target"].tolist())
    return resolve_targets(target, logits)


def _names(maps: Maps | Tensor, images: Tensor | Plate, count: int) -> list[dict[str, Any]]:
    """Return the columns that name each image."""
    if isinstance(images, Plate) and isinstance(maps, Maps):
        return rows_of(maps.rows[[*KEY_COLUMNS, "layer", "target"]])
    return [{"image": number} for number in range(count)]


def _masks(
    objects: NDArray[np.bool_] | Tensor | str | None, images: Tensor | Plate, maps: Maps | Tensor, fed: Tensor
) -> NDArray[np.bool_] | None:
    """Return where the biology is (n, h, w), None where nothing says so."""
    if objects is None:
        return None
    if isinstance(objects, str):
        if not (isinstance(images, Plate) and isinstance(maps, Maps)):
            allowed = "allowed: masks (n, h, w)"
            raise ValueError(f"objects is {objects!r}, a label of a plate, and images is none; {allowed}")  # noqa: TRY004
        return np.stack([_mask(images, row, objects, fed) for row in rows_of(maps.rows)])
    masks = np.asarray(torch.as_tensor(objects).cpu().numpy(), bool)
    if masks.shape != (expected := (len(fed), *fed.shape[-2:])):
        raise ValueError(f"objects are {masks.shape}; allowed for these images: {expected}")
    return masks


def _mask(plate: Plate, row: Mapping[str, Any], label: str, fed: Tensor) -> NDArray[np.bool_]:
    """Read the objects of one view, of the classifier's size."""
    image = FieldImage.open(plate.source, plate.path(row["well"], row["field"]))
    inside = read_regions(image, {"objects": Region(label=label)})["objects"]
    return fit_mask(inside[Box.from_row(row).slices], (fed.shape[-2], fed.shape[-1]))
