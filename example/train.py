"""Train the example campaign's three classifiers: `python example/train.py NAME|all`, under a minute each.

Needs only what lies beside it: `plates/bbbc013.zarr`, `plates/bbbc010.zarr` (level 0) and `platemaps/*.csv` (the
columns `label` and `split_*`). Writes `models/NAME/{model.yaml,weights.safetensors,test.safetensors}` and prints the
accuracy on the held-out wells. Everything that is fitted or chosen (weights, normalisation, class balance) comes from
the training wells; the number of steps is fixed; the held-out wells are read once, after training, to be scored.

The two BBBC010 classifiers differ in their split and in their care: `bbbc010_rows` is trained on wells that are moved,
mirrored and relit, `bbbc010_columns` on the images as they come, which leaves it a shortcut (`wells_anywhere`).
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from pcim.architectures import small_cnn
from pcim.core.plate_source import Source
from pcim.core.tiling import tile_field
from pcim.plates.field_image import FieldImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from torch import Tensor

    Augment = Callable[[Tensor, torch.Generator], Tensor]

HERE = Path(__file__).parent
SEED = 0
STEPS = 900
BATCH = 16
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
TOLERANCE = 1e-4  # of a logit, between machines


@dataclass(frozen=True)
class Recipe:
    """What one classifier is trained on, and how; `augment` changes a batch of raw images (b, c, h, w)."""

    name: str
    description: str
    plate: str
    channels: list[str]
    classes: list[str]
    view: str
    size: tuple[int, int]
    dtype: str
    split: str
    split_in_words: str
    augment: Augment
    data: str
    licence: str

    @property
    def arguments(self) -> dict[str, int]:
        """The arguments of the network's factory."""
        return {"channels": len(self.channels), "classes": len(self.classes)}


def flip(images: Float[Tensor, "b c h w"], random: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Mirror each image up-down and left-right, each with probability one half."""
    for axis in (-2, -1):
        chosen = torch.rand(len(images), generator=random) < 1 / 2
        images = torch.where(chosen[:, None, None, None], images.flip(axis), images)
    return images


def relight(images: Float[Tensor, "b c h w"], random: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Scale each channel of each image by 0.6 to 1.7: stain and lamp differ between wells of one class."""
    return images * 2.0 ** (1.5 * torch.rand(*images.shape[:2], 1, 1, generator=random) - 0.75)


def cut_out(images: Float[Tensor, "b c h w"], size: tuple[int, int], random: torch.Generator) -> Float[Tensor, "b c size_h size_w"]:
    """Cut a rectangle of `size` (height, width) px out of each image, anywhere that it fits."""
    cuts = []
    for image in images:
        top, left = (
            int(torch.randint(whole - part + 1, (1,), generator=random)) for whole, part in zip(image.shape[-2:], size, strict=True)
        )
        cuts.append(image[:, top : top + size[0], left : left + size[1]])
    return torch.stack(cuts)


def tiles_anywhere(images: Float[Tensor, "b c h w"], random: torch.Generator) -> Float[Tensor, "b c 160 160"]:
    """Cut a tile out of each field, turned, mirrored and relit: cells have no upright."""
    tiles = cut_out(images, (160, 160), random)
    turns = torch.randint(4, (len(tiles),), generator=random).tolist()
    turned = torch.stack([torch.rot90(tile, turn, (-2, -1)) for tile, turn in zip(tiles, turns, strict=True)])
    return relight(flip(turned, random), random)


def wells_anywhere(images: Float[Tensor, "b c h w"], random: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Move each well by up to 12 px, mirrored and relit.

    The wells' place on the image drifts with the plate's column, in each row alike, and so tells the class: a row split
    alone does not hide it. These changes do.
    """
    size = (images.shape[-2], images.shape[-1])
    padded = nn.functional.pad(images, (12, 12, 12, 12), mode="replicate")
    return relight(flip(cut_out(padded, size, random), random), random)


def unchanged(images: Float[Tensor, "b c h w"], random: torch.Generator) -> Float[Tensor, "b c h w"]:  # noqa: ARG001
    """Return the images as they are: where a well lies on its image is left for the classifier to read."""
    return images


def worms(name: str, trained: str, held_out: str, augment: Augment) -> Recipe:
    """Return the recipe of a classifier of whole BBBC010 wells; its two splits differ in what they hold out."""
    return Recipe(
        name=name,
        description=f"Are the worms of a well alive? Whole wells in bright field, trained on {trained}.",
        plate="bbbc010",
        channels=["Brightfield"],
        classes=["dead", "live"],
        view="field",
        size=(130, 174),
        dtype="uint16",
        split=f"split_{name.removeprefix('bbbc010_')}",
        split_in_words=f"by well: trained on {trained}, held out {held_out}",
        augment=augment,
        data="BBBC010 v1, rows A, C, D at a quarter of the resolution; a well's class is its treatment",
        licence="weights BSD-3-Clause; trained on images under CC0 1.0",
    )


RECIPES = [
    Recipe(
        name="bbbc013_translocation",
        description="Has FKHR-GFP moved into the nucleus? Tiles of U2OS cells, GFP and DNA.",
        plate="bbbc013",
        channels=["GFP", "DNA"],
        classes=["negative", "positive"],
        view="tile",
        size=(160, 160),
        dtype="uint8",
        split="split_translocation",
        split_in_words="by well: trained on the control wells of rows A and E, held out those of rows B and F",
        augment=tiles_anywhere,
        data="BBBC013 v1, control wells of rows A, B, E, F at half the resolution",
        licence="weights BSD-3-Clause; trained on images by Ilya Ravkin under CC BY 3.0",
    ),
    worms("bbbc010_rows", "rows A and C", "row D", wells_anywhere),
    worms("bbbc010_columns", "columns 1-8 and 17-24", "columns 9-16", unchanged),
]


@dataclass(frozen=True)
class Labelled:
    """Images with their classes: `images` (n, c, h, w) float32 raw intensities, `targets` (n) class numbers."""

    images: Float[Tensor, "n c h w"]
    targets: Int[Tensor, " n"]


def read_fields(recipe: Recipe, part: str) -> Labelled:
    """Read the fields of the wells that the split assigns to `part` ("train" or "test"), in plate map order."""
    table = pd.read_csv(HERE / "platemaps" / f"{recipe.plate}.csv", dtype=str, keep_default_na=False)
    table = table[table[recipe.split] == part]
    plate = Source(str(HERE / "plates" / f"{recipe.plate}.zarr"))
    fields = [FieldImage.open(plate, f"{well[0]}/{well[1:]}/0") for well in table["well_position"]]
    images = np.stack([field.read(recipe.channels) for field in fields]).astype(np.float32)
    targets = [recipe.classes.index(label) for label in table["label"]]
    return Labelled(torch.from_numpy(images), torch.tensor(targets))


def cut_views(fields: Labelled, size: tuple[int, int]) -> Labelled:
    """Cut every field into the tiles that the product classifies; a field of that size stays as it is."""
    height, width = fields.images.shape[-2:]
    tiles = [box.slices for box in tile_field((height, width), size)]
    views = torch.stack([fields.images[:, :, rows, columns] for rows, columns in tiles], dim=1).flatten(0, 1)
    return Labelled(views, fields.targets.repeat_interleave(len(tiles)))


@dataclass(frozen=True)
class Normalisation:
    """A mean and a standard deviation a channel, intensity units of the plate, rounded to what model.yaml will say."""

    mean: list[float]
    std: list[float]

    @classmethod
    def of(cls, images: Float[Tensor, "n c h w"]) -> Normalisation:
        """Measure it on the training set."""
        return cls(*([round(v, 3) for v in f(images, dim=(0, 2, 3)).tolist()] for f in (torch.mean, torch.std)))

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Turn raw intensities into what the network is fed."""
        return (images - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]


def train(recipe: Recipe, fields: Labelled, normalise: Normalisation) -> nn.Module:
    """Train on batches in which every class is equally likely, for a fixed number of steps; returns it in eval mode.

    Every random number comes from SEED.
    """
    torch.manual_seed(SEED)  # the network's start
    random = torch.Generator().manual_seed(SEED)  # everything after it
    network = small_cnn(**recipe.arguments)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    rarity = 1 / torch.bincount(fields.targets)[fields.targets]
    for _ in range(STEPS):
        drawn = torch.multinomial(rarity, BATCH, replacement=True, generator=random)
        images = normalise(recipe.augment(fields.images[drawn], random))
        loss = nn.functional.cross_entropy(network(images), fields.targets[drawn])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def make_model(recipe: Recipe) -> None:
    """Train one classifier, score it on the held-out wells, write its folder, and print the accuracy."""
    fields = read_fields(recipe, "train")
    normalise = Normalisation.of(fields.images)
    with torch.enable_grad():
        network = train(recipe, fields, normalise)
    views = cut_views(read_fields(recipe, "test"), recipe.size)
    logits = network(normalise(views.images))
    right = int((logits.argmax(1) == views.targets).sum())
    print(f"{recipe.name}: {right} of {len(logits)} held-out views right ({recipe.split_in_words})")

    folder = HERE / "models" / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "weights.safetensors")
    number = range(len(recipe.classes))
    images = torch.cat([views.images[views.targets == target][:2] for target in number])  # two views of each class
    save_file({"images": images, "logits": network(normalise(images))}, folder / "test.safetensors")
    contract = {
        **describe(recipe, normalise),
        "sha256": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
    }
    contract["training"] |= {"held_out_accuracy": round(right / len(logits), 4), "held_out_n": len(logits)}
    (folder / "model.yaml").write_text(yaml.safe_dump(contract, sort_keys=False, width=120), encoding="utf-8")


def describe(recipe: Recipe, normalise: Normalisation) -> dict[str, Any]:
    """Return what of model.yaml is known before training."""
    return {
        "name": recipe.name,
        "description": recipe.description,
        "architecture": "pcim.architectures:small_cnn",
        "arguments": recipe.arguments,
        "weights": "weights.safetensors",
        "sha256": "",
        "classes": recipe.classes,
        "input": {
            "channels": recipe.channels,
            "view": recipe.view,
            "size": list(recipe.size),
            "dtype": recipe.dtype,
            "mean": normalise.mean,
            "std": normalise.std,
        },
        "test": {"file": "test.safetensors", "tolerance": TOLERANCE},
        "training": {
            "data": recipe.data,
            "split": recipe.split_in_words,
            "script": "example/train.py",
        },
        "licence": recipe.licence,
    }


def main() -> None:
    """Train the named classifier, or all of them."""
    recipes = {recipe.name: recipe for recipe in RECIPES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*recipes, "all"])
    name = parser.parse_args().name
    torch.set_num_threads(1)  # the same sums in the same order on every machine of a kind
    torch.use_deterministic_algorithms(True)
    for recipe in RECIPES if name == "all" else [recipes[name]]:
        make_model(recipe)


if __name__ == "__main__":
    main()
