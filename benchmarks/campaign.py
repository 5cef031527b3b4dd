"""What the workflow itself costs in a campaign of 100 plates x 384 wells x 9 fields, 5 000 jobs, in which no job is run.

``python benchmarks/campaign.py [--quick] [--write]``, from the repository's root; minutes. Its plates are metadata alone, in
the temporary folder; it deletes them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

ROWS, COLUMNS, FIELDS, SIDE = "ABCDEFGHIJKLMNOP", 24, 9, 1080
CHANNELS = ("DNA", "GFP")
METHODS = ["pcim", "pcim_literal", "integrated_gradients", "grad_cam", "occlusion", "random", "edge", "contrast",
           "randomised_model", "input_x_gradient"]  # fmt: skip


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _group(file: Path, ome: dict[str, Any]) -> None:
    _write(file, {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome | {"version": "0.5"}}})


def write_plate(plate: Path) -> None:
    """Write the metadata of a plate of 384 wells that a plan is made from: the plate's, its wells', its first field's."""
    wells = [(row, column) for row in range(len(ROWS)) for column in range(COLUMNS)]
    places = [{"path": f"{ROWS[r]}/{c + 1}", "rowIndex": r, "columnIndex": c} for r, c in wells]
    rows, columns = [{"name": row} for row in ROWS], [{"name": str(c + 1)} for c in range(COLUMNS)]
    _group(plate / "zarr.json", {"plate": {"rows": rows, "columns": columns, "wells": places}})
    images = [{"path": str(field)} for field in range(FIELDS)]
    for place in places:
        _group(plate / str(place["path"]) / "zarr.json", {"well": {"images": images}})
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    scale = [{"type": "scale", "scale": [1.0, 0.65, 0.65]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    window = {"min": 0, "max": 65535, "start": 0, "end": 65535}
    omero = {"channels": [{"label": name, "color": "FFFFFF", "window": window} for name in CHANNELS]}
    _group(plate / "A/1/0/zarr.json", {"multiscales": [image], "omero": omero})
    shape = [len(CHANNELS), SIDE, SIDE]
    array = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint16", "fill_value": 0,
             "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
             "chunk_key_encoding": {"name": "default"}, "codecs": [{"name": "bytes"}]}  # fmt: skip
    _write(plate / "A/1/0/0/zarr.json", array)


def write_campaign(folder: Path, plates: int) -> Path:
    """Write the inputs of a campaign, all that is read before the first job; return its config."""
    names = [f"p{number:04d}" for number in range(plates)]
    layout = ["well_position,treatment,control_type,dose,label"]
    for row in ROWS:
        layout += [f"{row}{c:02d},{'DMSO' if c < 3 else f'drug{row}{c}'},{'negcon' if c < 3 else ''},1,live"  # noqa: PLR2004
                   for c in range(1, COLUMNS + 1)]  # fmt: skip
    lines = ["plate\tpath\tplatemap"]
    for name in names:
        write_plate(folder / f"{name}.zarr")
        (folder / f"{name}.csv").write_text("\n".join(layout) + "\n")
        lines.append(f"{name}\t{folder / name}.zarr\t{folder / name}.csv")
    (folder / "plates.tsv").write_text("\n".join(lines) + "\n")
    for file in ("weights.safetensors", "test.safetensors"):
        (folder / file).touch()
    contract = {
        "name": "network", "architecture": "pcim.architectures:small_cnn", "weights": "weights.safetensors", "sha256": "0" * 64,
        "classes": ["dead", "live"], "test": {"file": "test.safetensors"},
        "input": {"channels": list(CHANNELS), "view": "field", "size": [SIDE, SIDE], "dtype": "uint16", "mean": [0.0, 0.0],
                  "std": [1.0, 1.0]},
    }  # fmt: skip
    (folder / "model.yaml").write_text(yaml.safe_dump(contract))
    values = {
        "campaign": "large", "plates": str(folder / "plates.tsv"),
        "classifiers": {"network": {"model": str(folder / "model.yaml"), "plates": names, "truth": "label"}},
        "attribute": {"methods": METHODS},
    }  # fmt: skip
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    return config
