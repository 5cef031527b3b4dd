"""What is fuzzed: each reader of what others wrote, as a function of bytes, with valid files to begin from and what callers catch."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from fuzz.mutants import mutate, mutate_binary
from fuzz.tiffs import made_tiffs

from pcim.campaign.input_tables import CampaignError, read_config, read_platemap, read_plates
from pcim.campaign.scaffold.platemap_template import platemap_text, read_given
from pcim.classifiers.contract import ModelError, read_contract
from pcim.classifiers.formats.safe_arrays import read_array
from pcim.config.config import Config
from pcim.config.fault_messages import parse
from pcim.core.plate_source import Source
from pcim.plates.inventory import survey_plate
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors import read_export
from pcim.plates.vendors.decode import page_looks, read_page
from pcim.views.objects import read_places

HERE = Path(__file__).parent
BETWEEN = b"\n=====\n"
"""What parts one file from the next, where a target has several."""

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it tells of each broken tag

_folder = Path(tempfile.mkdtemp(prefix="pcim-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


class WrongError(BaseException):
    """A result that is wrong; no reader may take it for an error of its own."""


@dataclass(frozen=True)
class Target:
    """`read` is given the bytes of files, parted by `BETWEEN`; `caught` is what every caller of it catches; `mutate` makes mutants."""

    read: Callable[[bytes], None]
    seeds: Sequence[bytes]
    caught: tuple[type[Exception], ...]
    mutate: Callable[..., bytes] = mutate

    def __call__(self, data: bytes) -> bool:
        """Tell whether the bytes were accepted; any exception but what is caught is a finding."""
        try:
            self.read(data)
        except MemoryError:
            raise
        except self.caught as error:
            words = str(error)
        else:
            return True
        assert not re.search(r"[\x00-\x08\x0e-\x1f]", words), "an error that would steer a terminal"
        return False


def write(files: Sequence[str], data: bytes) -> Path:
    """Write the parts of the bytes to these files; the folder is the same each time."""
    for name, part in zip(files, [*data.split(BETWEEN), *[b""] * len(files)], strict=False):
        file = _folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(part)
    return _folder


def clean() -> None:
    """Delete what targets wrote."""
    shutil.rmtree(_folder, ignore_errors=True)


def config(data: bytes) -> None:
    file = write(["config.yaml"], data) / "config.yaml"
    _, faults = parse(Config, read_config([file]))
    if faults:
        raise CampaignError(faults)


def model(data: bytes) -> None:
    folder = write(["m/model.yaml", "m/weights.safetensors", "m/test.safetensors"], data) / "m"
    contract, faults = read_contract(folder / "model.yaml")
    assert (contract is None) == bool(faults)
    if faults:
        raise CampaignError(faults)


def plates(data: bytes) -> None:
    faults: list[str] = []
    for name in read_plates(write(["plates.tsv"], data) / "plates.tsv", faults, platemaps=False):
        assert re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", name)
    if faults:
        raise CampaignError(faults)


def platemap(data: bytes) -> None:
    faults: list[str] = []
    for well, row in read_platemap(write(["map.csv"], data) / "map.csv", faults).items():
        assert re.fullmatch("[A-Z]{1,2}[0-9]{2,3}", well)
        assert {"control_type", "dose", "treatment"} <= row.keys()
        json.dumps(row, ensure_ascii=False).encode()
    if faults:
        raise CampaignError(faults)


def places(data: bytes) -> None:
    for (well, field), objects in read_places(write(["places.csv"], data) / "places.csv", "p").items():
        assert re.fullmatch("[A-Z]{1,2}[0-9]{2,3}", well)
        assert "/" not in field
        assert all(name.isalnum() and math.isfinite(y) and math.isfinite(x) for name, y, x in objects)


def given_platemap(data: bytes) -> None:
    faults: list[str] = []
    given = read_given(write(["given.csv"], data) / "given.csv", faults)
    for wells in given.maps.values():
        assert platemap_text(wells, wells).count("\n") > len(wells)
    json.dumps(given.renamed, ensure_ascii=False).encode()
    if faults:
        raise CampaignError(faults)


def _survey(form: str, data: bytes) -> None:
    """Read the metadata of a plate: its own, a well's, a field's, an array's and the labels'."""
    own, array = (".zattrs", ".zarray") if form == "v2" else ("zarr.json", "zarr.json")
    files = [
        f"{form}/{own}",
        f"{form}/A/1/{own}",
        f"{form}/A/1/0/{own}",
        f"{form}/A/1/0/0/{array}",
        f"{form}/A/1/0/labels/{own}",
    ]
    found = survey_plate(Source(str(write(files, data) / form), z="0", t="0"))
    for path, names in found.wells.values():
        assert not {"..", ""} & {*path.split("/"), *names}
        assert not any("/" in name for name in names)
    json.dumps(found.to_dict(), ensure_ascii=False).encode()
    assert all(length > 0 for length in found.shape)


def _export(form: str, files: Sequence[str], data: bytes) -> None:
    """Read a vendor's index and choose the planes of its first fields."""
    export = read_export.__wrapped__(Source(str(write([f"{form}/{name}" for name in files], data) / form), format=form))
    for path, names in export.wells.values():
        assert not {"..", ""} & {*path.split("/"), *names}
    assert len(export.channels) == len(export.numbers)
    json.dumps(export.digest)
    for key in list(export.fields)[:5]:
        export.planes_of(key)


def arrays(data: bytes) -> None:
    """Read views from the bytes, as a file of either form."""
    folder = write(["a.npy", "a.safetensors"], b"")
    refused = []
    for name in ("a.npy", "a.safetensors"):
        (folder / name).write_bytes(data)
        try:
            found = read_array(folder / name, "images", "raw views (n, c, h, w)")
        except ModelError as error:
            refused.append(error)
        else:
            if found.nbytes > len(data) or found.ndim != 4:
                raise WrongError(f"{found.dtype} of {found.shape} from {len(data)} bytes")
    if len(refused) > 1:
        raise refused[0]


def package(data: bytes) -> None:
    """Read a package of the BioImage Model Zoo whose description is the bytes."""
    from pcim.classifiers.packaging.bioimage_zoo import read_package  # the others need no torch

    folder = (
        write(
            ["zoo/rdf.yaml", "zoo/readme.md", "zoo/weights.onnx"],
            data.replace(BETWEEN, b"") + BETWEEN + b"x" + BETWEEN + b"x",
        )
        / "zoo"
    )
    for name, shape in (("in.npy", (2, 2, 4, 4)), ("out.npy", (2, 2))):
        np.save(folder / name, np.ones(shape, np.float32))
    draft = read_package(folder / "rdf.yaml", None, {})
    json.dumps(draft.told).encode()


def tiff(data: bytes) -> None:
    """Read the pixels of the first two pages of an image, and what readers of exports ask of it."""
    file = write(["tiff/p_A01_s1_w1.tif", "tiff/tiles.csv"], BETWEEN) / "tiff/p_A01_s1_w1.tif"
    file.write_bytes(data)
    (file.parent / "tiles.csv").write_text("file_path,row,column\np_A01_s1_w1.tif,A,1\n")
    read_export.__wrapped__(Source(str(file.parent), format="tiles"))
    read_export.__wrapped__(Source(str(file.parent), format="imagexpress"))
    with contextlib.suppress(NgffError):  # most are no OME-TIFF
        read_export.__wrapped__(Source(str(file), format="ometiff"))
    for page in (1, 0):  # one page alone is enough
        with contextlib.suppress(*([NgffError] if page else [])):
            pixels = read_page(file, page)
            if ((*pixels.shape,), pixels.dtype.name) != page_looks(file, page):
                raise WrongError(f"pixels {pixels.dtype} of {pixels.shape} whose header says {page_looks(file, page)}")


def made_arrays() -> list[bytes]:
    """Return files of views in either form."""
    made = []
    for views in (np.ones((1, 2, 3, 4), np.float32), np.arange(24, dtype=">u2").reshape(1, 2, 3, 4)):
        stream = io.BytesIO()
        np.save(stream, views)
        made += [
            stream.getvalue(),
            safetensors.numpy.save({"images": np.ascontiguousarray(views, "<f4"), "x": views[0, 0, 0].astype("<i8")}),
        ]
    return made


_CONFIG = b"""campaign: demo
plates: plates.tsv
minutes_per_chunk: 1.5
classifiers:
  worms: {model: m.yaml, plates: [p], objects: worms, regions: {worms: {label: worms}, rim: {boundary_of: well, width_px: 3}}}
attribute: {methods: [pcim, edge], targets: [call], pcim: {steps: 60}, select: {where: {split: [test]}, fraction: 0.5}}
report: &r {title: "What it looks at"}
"""
_MODEL = b"""name: spots
architecture: planted_campaign:spot_detector
arguments: {channels: 2}
weights: weights.safetensors
sha256: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
classes: [plain, spot]
input: {channels: [DNA, GFP], view: tile, size: [48, 48], overlap: 4, dtype: uint16, mean: [200, 200.5], std: [1.0e+2, 100]}
test: {file: test.safetensors, tolerance: 0.001}
"""


def _small_plate(version: str) -> bytes:
    """Return the metadata of a plate of one well, one field of three channels, one label."""
    plate = {
        "rows": [{"name": "A"}],
        "columns": [{"name": "1"}],
        "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}],
        "version": version,
    }
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}, {"type": "translation", "translation": [0, 1, 2]}]
    image = {
        "multiscales": [{
            "axes": [{"name": "c"}, {"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "micrometer"}],
            "datasets": [{"path": "0", "coordinateTransformations": scale}], "version": version,
        }],
        "omero": {"channels": [{"label": "DNA"}, {"label": "GFP"}, {"label": "actin"}]},
    }  # fmt: skip
    groups = [{"plate": plate}, {"well": {"images": [{"path": "0", "acquisition": 0}], "version": version}}, image]
    labels = {"labels": ["cells"]}
    if version == "0.4":
        array = {
            "zarr_format": 2,
            "shape": [3, 40, 52],
            "chunks": [1, 40, 52],
            "dtype": "<u2",
            "compressor": None,
            "fill_value": 0,
        }
        parts = [*groups, array, labels]
    else:
        array = {"zarr_format": 3, "node_type": "array", "shape": [3, 40, 52], "data_type": "uint16"}
        of = lambda ome: {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome | {"version": version}}}  # noqa: E731
        parts = [*map(of, groups), array, of(labels)]
    return BETWEEN.join(json.dumps(part).encode() for part in parts)


_SCALED_MODEL = b"""name: cells
description: &told "what it tells apart"
format: state_dict
architecture: timm:resnet18
arguments: {num_classes: 3, in_chans: 1}
weights: weights.safetensors
prefix: module.
scores: probabilities
sha256: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
classes: [dead, live, none]
input:
  channels: [DNA]
  view: object
  size: [64, 96]
  pixel_size_um: 0.65
  dtype: float32
  percentiles: {low: 0.5, high: 99.5, over: negcon, clip: false}
  mean: [0.5]
  std: [0.25]
test: {file: test.safetensors}
training: {data: *told, split: by plate, held_out_accuracy: 0.9, held_out_n: 100}
licence: MIT
"""
_PACKAGE = b"""type: model
format_version: 0.5.3
name: Spot classifier
description: Tells spots.
authors: [{name: A. Maker}]
cite: [{text: none, doi: 10.1234/abcd}]
license: MIT
documentation: readme.md
timestamp: '2026-01-01T00:00:00Z'
inputs:
- id: raw
  axes: [{type: batch}, {type: channel, channel_names: [DNA, GFP]}, {type: space, id: y, size: 4}, {type: space, id: x, size: 4}]
  data: {type: float32}
  test_tensor: {source: in.npy}
  preprocessing: [{id: scale_linear, kwargs: {axis: channel, gain: [0.1, 0.1], offset: [1.0, 1.0]}}]
outputs:
- id: classes
  axes: [{type: batch}, {type: channel, channel_names: [plain, spot]}]
  test_tensor: {source: out.npy}
  postprocessing: [{id: softmax, kwargs: {axis: channel}}]
weights: {onnx: {source: weights.onnx, opset_version: 15}}
"""
_HEAD = b'<?xml version="1.0" encoding="utf-8"?>'
_OPERETTA = _HEAD + (
    b'<EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5"><Plates><Plate><PlateRows>16</PlateRows>'
    b'<PlateColumns>24</PlateColumns></Plate></Plates><Maps><Map><Entry ChannelID="1"><ChannelName>DNA</ChannelName></Entry></Map></Maps>'
    b"<Images><Image><id>x</id><URL>a.tiff</URL><Row>2</Row><Col>3</Col><FieldID>1</FieldID><PlaneID>1</PlaneID><TimepointID>0</TimepointID>"
    b'<ChannelID>1</ChannelID><ImageResolutionX Unit="m">6.5E-07</ImageResolutionX><ImageResolutionY '
    b'Unit="m">5E-07</ImageResolutionY></Image>'
    b"</Images></EvaluationInputData>"
)
_CELLVOYAGER = BETWEEN.join([
    _HEAD + b'<bts:MeasurementData xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"><bts:MeasurementRecord bts:Type="IMG" '
            b'bts:Row="2" '
    b'bts:Column="3" bts:FieldIndex="1" bts:TimePoint="1" bts:ZIndex="1" bts:Ch="1">a.tif</bts:MeasurementRecord></bts:MeasurementData>',
    _HEAD + b'<bts:MeasurementDetail xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0" bts:RowCount="16" bts:ColumnCount="24">'
    b'<bts:MeasurementChannel bts:HorizontalPixelDimension="0.325" bts:VerticalPixelDimension="0.325"/></bts:MeasurementDetail>',
])  # fmt: skip
_OME = _HEAD + (
    b'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Plate ID="Plate:0" Rows="8" Columns="12"><Well ID="Well:0" Row="0" '
    b'Column="1"><WellSample ID="WellSample:0" Index="0"><ImageRef ID="Image:0"/></WellSample></Well></Plate><Image ID="Image:0"><Pixels '
    b'DimensionOrder="XYCZT" SizeC="2" SizeZ="1" SizeT="1" PhysicalSizeX="650" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5"><Channel '
    b'Name="DNA"/>'
    b'<TiffData FirstC="0" IFD="0" PlaneCount="2"><UUID FileName="a.tif">x</UUID></TiffData></Pixels></Image></OME>'
)
_TILES = BETWEEN.join([
    b"file_path,row,column,fov_name,start_c,length_c,start_z,length_z\na.tif,A,1,x,0,2,0,1\nb.tif,2,24,y,0,2,0,1\n",
    b'pixelsize = 0.65\naxes = ["c", "z", "y", "x"]\nchannels = [{channel_label = "DNA"}, "GFP"]\n',
])  # fmt: skip
_HTD = b'"HTSInfoFile", Version 1.0\n"XWells", 24\n"YWells", 16\n"WaveName1", "DAPI"\n"WaveName2", "FITC"\n"EndFile"\n'


def imagexpress(data: bytes) -> None:
    """Read a folder that has one image and whose settings are the bytes."""
    (_folder / "imagexpress").mkdir(exist_ok=True)
    (_folder / "imagexpress/p_B02_s1_w1.tif").touch()
    _export("imagexpress", ["p.HTD"], data)


CAMPAIGN = (CampaignError,)
PLATE = (NgffError, ValueError, OSError)
"""What `pcim.campaign.plan.plan_plates` and `pcim.operations.rescan` catch."""
PIXELS = (Exception,)
"""Decoders raise what they like: `pcim.stages.convert.convert_field` makes all but a lack of memory the field's reason."""

TARGETS = {
    "config": Target(config, [_CONFIG, (HERE.parents[1] / "config/config.yaml").read_bytes()], CAMPAIGN),
    "model": Target(model, [_MODEL, _SCALED_MODEL], CAMPAIGN),
    "plates": Target(plates, [b"plate\tpath\tplatemap\tz\tt\tchannels\np\ta.zarr\tm.csv\tmax\t0\tDNA,GFP\n"], CAMPAIGN),
    "platemap": Target(platemap, [b"well_position,treatment,control_type,dose,label\nA1,DMSO,negcon,,dead\nB12,x,,1.5,live\n"], CAMPAIGN),
    "plate_04": Target(lambda data: _survey("v2", data), [_small_plate("0.4")], PLATE),
    "plate_05": Target(lambda data: _survey("v3", data), [_small_plate("0.5")], PLATE),
    "operetta": Target(lambda data: _export("operetta", ["Images/Index.idx.xml"], data), [_OPERETTA], (NgffError,)),
    "cellvoyager": Target(lambda data: _export("cellvoyager", ["MeasurementData.mlf", "MeasurementDetail.mrf"], data), [_CELLVOYAGER],
    (NgffError,)),
    "ometiff": Target(lambda data: _export("ometiff", ["p.companion.ome"], data), [_OME], (NgffError,)),
    "tiles": Target(lambda data: _export("tiles", ["tiles.csv", "acquisition_details.toml"], data), [_TILES], (NgffError,)),
    "imagexpress": Target(imagexpress, [_HTD], (NgffError,)),
    "places": Target(places, [b"well,field,y,x,object,plate\nA1,0,10.5,20,k1,p\nB12,0,1,2,,p\nC1,1,3,4,,q\n"], (ValueError, OSError)),
    "given_platemap": Target(given_platemap, [b"Well;Treatment;Dose;plate note\nA1;DMSO;;x\nb12;y;1.5;\n"], CAMPAIGN),
    "arrays": Target(arrays, made_arrays(), (ModelError,), mutate_binary),
    "package": Target(package, [_PACKAGE], (ModelError,)),
    "tiff": Target(tiff, made_tiffs(), PIXELS, mutate_binary),
}  # fmt: skip
