"""Small plates and classifiers whose truth is known, made on the spot: nothing is downloaded."""

from __future__ import annotations

import hashlib
import select
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
import zarr
from safetensors.torch import save_file
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CHANNELS = ("DNA", "Reporter")
SIZE = (48, 48)


class SpotDetector(nn.Module):
    """Sees a bright spot in its second channel, anywhere, and nothing else: the answer to any map of it is known.

    `pause`: seconds that it takes where gradients are wanted, so that a job which explains can be met at work.
    """

    def __init__(self, channels: int = 2, pause: float = 0.0) -> None:
        super().__init__()
        self.pause = pause
        self.spot = nn.Conv2d(channels, 1, 5, padding=2, bias=False)
        self.call = nn.Linear(1, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of (plain, spot)."""
        if self.pause and torch.is_grad_enabled():
            select.select([], [], [], self.pause)  # a clock that is set wrong by faketime trips time.sleep
        strongest: torch.Tensor = self.call(torch.relu(self.spot(images)).amax(dim=(2, 3)))
        return strongest


def spot_detector(channels: int = 2, pause: float = 0.0) -> nn.Module:
    """Return a spot detector: the factory that model.yaml names."""
    return SpotDetector(channels, pause)


def spot_weights() -> dict[str, torch.Tensor]:
    """Return the weights: a 5 x 5 average of the second channel, called 'spot' from 1 on (in standard deviations)."""
    kernel = torch.zeros(1, 2, 5, 5)
    kernel[0, 1] = 1 / 25
    return {
        "spot.weight": kernel,
        "call.weight": torch.tensor([[-4.0], [4.0]]),
        "call.bias": torch.tensor([4.0, -4.0]),
    }


def write_model(folder: Path, **changes: Any) -> Path:
    """Write the spot detector's model.yaml, weights and test input; `changes` replace keys of the contract."""
    folder.mkdir(parents=True, exist_ok=True)
    heavy = {"note": "larger than what Snakemake compares by content " * 25_000}
    save_file(spot_weights(), folder / "weights.safetensors", metadata=heavy)
    contract = {
        "name": "spots",
        "architecture": "planted_campaign:spot_detector",
        "arguments": {"channels": 2},
        "weights": "weights.safetensors",
        "sha256": hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest(),
        "classes": ["plain", "spot"],
        "input": {
            "channels": list(CHANNELS),
            "view": "tile",
            "size": list(SIZE),
            "dtype": "uint16",
            "mean": [200.0, 200.0],
            "std": [100.0, 100.0],
        },
        "test": {"file": "test.safetensors"},
        "training": {"data": "none: the weights are set by hand", "split": "none"},
    } | changes
    detector = knowing_detector()
    rng = np.random.default_rng(7)
    images = torch.from_numpy(rng.normal(200, 100, (2, 2, *SIZE)).astype(np.float32))
    with torch.no_grad():
        logits = detector((images - 200) / 100)
    save_file({"images": images, "logits": logits}, folder / "test.safetensors")
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(contract, sort_keys=False))
    return path


def knowing_detector() -> SpotDetector:
    """Return a spot detector with its weights."""
    network = SpotDetector()
    network.load_state_dict(spot_weights())
    return network


def spot_field(rng: np.random.Generator, shape: tuple[int, int], spot: tuple[int, int] | None) -> NDArray[np.uint16]:
    """Return a noisy two-channel field, blobs in both channels, and a 7 px bright spot at (y, x) of the second if wanted."""
    image = rng.normal(200, 20, (2, *shape))
    for channel in [0, 1] * 8:  # distractors, dimmer than a spot, in both classes
        y, x = rng.integers(4, np.array(shape) - 4)
        image[channel, y - 2 : y + 3, x - 2 : x + 3] = rng.normal(270, 20, (5, 5))
    if spot is not None:
        y, x = spot
        image[1, y - 3 : y + 4, x - 3 : x + 4] += 400
    return np.clip(image, 0, 65535).astype(np.uint16)


def spot_images(rng: np.random.Generator, spots: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Return views (n, c, h, w) as the detector is fed them, a spot at each (y, x)."""
    fields = np.stack([spot_field(rng, SIZE, spot) for spot in spots]).astype(np.float32)
    return torch.from_numpy((fields - 200) / 100)


def write_plate(
    path: Path,
    fields: Mapping[tuple[str, str, str], NDArray[Any]],
    *,
    labels: Mapping[tuple[str, str, str], Mapping[str, NDArray[Any]]] | None = None,
    channels: Sequence[str] = CHANNELS,
    version: str = "0.5",
    chunks: tuple[int, ...] | None = None,
    empty: bool = False,
) -> Path:
    """Write an OME-Zarr plate: (row, column, field) -> pixels (channel, y, x), with label images (y, x) by name.

    `empty`: chunks of nothing but zeros are stored too.
    """
    shutil.rmtree(path, ignore_errors=True)
    zarr_format = 3 if version == "0.5" else 2
    rows = sorted({row for row, _, _ in fields})
    columns = sorted({column for _, column, _ in fields}, key=int)
    wells = sorted({(row, column) for row, column, _ in fields}, key=lambda well: (well[0], int(well[1])))
    root = zarr.create_group(path, zarr_format=zarr_format)
    plate = {
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [{"path": f"{r}/{c}", "rowIndex": rows.index(r), "columnIndex": columns.index(c)} for r, c in wells],
        "version": version,
    }
    _set(root, {"plate": plate}, version)
    for row in rows:
        root.create_group(row)
    for row, column in wells:
        names = [field for r, c, field in fields if (r, c) == (row, column)]
        images = {"images": [{"path": name} for name in names], "version": version}
        _set(root.create_group(f"{row}/{column}"), {"well": images}, version)
    for key, pixels in fields.items():
        group = root.create_group("/".join(key))
        _image(group, pixels, "cyx", version, chunks, empty=empty)
        omero = [{"label": c, "color": "FFFFFF", "window": {"min": 0, "max": 1, "start": 0, "end": 1}} for c in channels]
        _set(group, _multiscales("cyx", version) | {"omero": {"channels": omero, "version": version}}, version)
        of_field = (labels or {}).get(key, {})
        if of_field:
            _set(group.create_group("labels"), {"labels": list(of_field)}, version)
        for name, label in of_field.items():
            label_group = group.create_group(f"labels/{name}")
            _image(label_group, label, "yx", version, None)
            _set(label_group, _multiscales("yx", version) | {"image-label": {"version": version}}, version)
    return path


def _set(group: zarr.Group, ome: dict[str, Any], version: str) -> None:
    group.attrs.update({"ome": ome | {"version": version}} if version == "0.5" else ome)


def _image(
    group: zarr.Group,
    pixels: NDArray[Any],
    axes: str,
    version: str,
    chunks: tuple[int, ...] | None,
    *,
    empty: bool = False,
) -> None:
    names = {"dimension_names": list(axes)} if version == "0.5" else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    array = group.create_array(
        "0",
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=chunks or pixels.shape,
        config={"write_empty_chunks": empty},
        **names,
    )
    array[...] = pixels


def _multiscales(axes: str, version: str) -> dict[str, Any]:
    kinds = {"c": "channel", "y": "space", "x": "space"}
    scale = [{"type": "scale", "scale": [1.0 if axis == "c" else 0.5 for axis in axes]}]
    units = {"y": {"unit": "micrometer"}, "x": {"unit": "micrometer"}}
    described = [{"name": axis, "type": kinds[axis], **units.get(axis, {})} for axis in axes]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    return {"multiscales": [{"name": "image", "axes": described, "datasets": datasets, "version": version}]}


def write_campaign(
    folder: Path,
    *,
    plates: int = 1,
    columns: int = 4,
    seed: int = 0,
    shape: tuple[int, int] = (70, 96),
    pause: float = 0.0,
) -> dict[str, Any]:
    """Write plates with planted spots in even columns, their plate maps, a classifier and a config; return the config.

    Rows A and B; the label ``spots`` marks what was planted, ``cells`` every blob.
    """
    rng = np.random.default_rng(seed)
    lines = ["plate\tpath\tplatemap"]
    for number in range(plates):
        fields, labels, rows = {}, {}, ["well_position,treatment,control_type,dose,label"]
        for row in "AB":
            for column in range(1, columns + 1):
                planted = column % 2 == 0
                spot = (int(rng.integers(8, shape[0] - 8)), int(rng.integers(8, shape[1] - 8))) if planted else None
                key = (row, str(column), "0")
                fields[key] = spot_field(rng, shape, spot)
                mask = np.zeros(shape, np.uint8)
                if spot is not None:
                    mask[spot[0] - 3 : spot[0] + 4, spot[1] - 3 : spot[1] + 4] = 1
                labels[key] = {"spots": mask}
                rows.append(
                    f"{row}{column:02d},{'drug' if planted else ''},{'poscon' if planted else 'negcon'},,{'spot' if planted else 'plain'}"
                )
        name = f"plate{number + 1}"
        write_plate(folder / f"{name}.zarr", fields, labels=labels, version="0.5" if number % 2 == 0 else "0.4")
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
        lines.append(f"{name}\t{folder / name}.zarr\t{folder / name}.csv")
    (folder / "plates.tsv").write_text("\n".join(lines) + "\n")
    model = write_model(folder / "model", arguments={"channels": 2, "pause": pause})
    return {
        "campaign": "planted",
        "plates": str(folder / "plates.tsv"),
        "wells_per_chunk": 4,
        "classifiers": {
            "spots": {
                "model": str(model),
                "plates": [f"plate{number + 1}" for number in range(plates)],
                "truth": "label",
                "objects": "spots",
                "regions": {"spots": {"label": "spots"}},
            }
        },
        "classify": {"trusted_packages": ["pcim", "planted_campaign"], "batch_size": 4},
        "attribute": {"methods": ["pcim", "random", "edge"], "batch_size": 4, "pcim": {"steps": 30}, "levels": 2},
        "evaluate": {"steps": 6, "batch_size": 8},
        "report": {"draws": 500, "panels": 2},
    }
