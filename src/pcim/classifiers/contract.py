"""The classifier's contract, ``model.yaml``.

It says what the classifier is, what it must be fed, and how to tell that it is still itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from pcim.config.base import CALL, Digest, Distinct, PlainName, Settings, spelling
from pcim.config.fault_messages import parse
from pcim.config.yaml_lines import read_yaml
from pcim.core.tiling import Box, tile_field

if TYPE_CHECKING:
    from pathlib import Path

    from pcim.config.methods import Need

Format = Literal["state_dict", "torch_export", "torchscript", "onnx"]
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "state_dict": (".safetensors", ".pt", ".pth", ".ckpt"),
    "torch_export": (".pt2",),
    "torchscript": (".pt", ".pth", ".ts", ".torchscript"),
    "onnx": (".onnx",),
}
PROGRAMS: tuple[Format, ...] = ("torch_export", "torchscript")
"""Formats whose files hold code, which loading runs: their digest must be in `classify.trusted_programs`."""
LIBRARIES = ("timm", "torchvision")
"""Packages whose networks are asked for by name, ``timm:resnet18``; what would make them download is refused."""
_DOWNLOADS = {
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "weights",
    "weights_backbone",
}

FileName = Annotated[
    str,
    spelling(
        r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$",
        "the name of a file beside model.yaml: at most 128 letters, digits, '_', '-' and '.'",
    ),
]
Architecture = Annotated[str, spelling(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", "module:factory, as in my_package.nets:make")]


class ModelError(ValueError):
    """A classifier that cannot be loaded or is not what its contract says."""


class Percentiles(Settings):
    """Intensities are first brought to 0 at the low and 1 at the high percentile of a field, its well, its plate or controls."""

    low: float = Field(1.0, ge=0, lt=100, description="This percentile becomes 0.")
    high: float = Field(99.0, gt=0, le=100, description="This percentile becomes 1.")
    over: Literal["field", "well", "plate", "negcon"] = Field(
        description="Whose pixels are counted: the field's, its well's, its plate's, or those of the plate's negative controls."
    )
    clip: bool = Field(True, description="Values below 0 and above 1 become 0 and 1.")

    @model_validator(mode="after")
    def _in_order(self) -> Percentiles:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        return self


class InputContract(Settings):
    """What the classifier is fed: views of `size`, these channels in this order, each as (x - mean) / std."""

    channels: Distinct[str] = Field(min_length=1, description="Channel labels as on the plate, in the order of the input.")
    view: Literal["field", "tile", "object"] = Field(
        description="'field': a whole field is one view; 'tile': fields are cut into tiles; 'object': a crop around each object."
    )
    size: tuple[PositiveInt, PositiveInt] = Field(description="Height and width of a view, px of level 0.")
    overlap: int = Field(0, ge=0, description="Tiles share so many pixels of a view with their neighbours.")
    pixel_size_um: PositiveFloat | None = Field(
        None,
        description="Pixel size that it was trained at, micrometres: views of plates with another are resized to it. None: px of level 0 "
        "as they are.",
    )
    resize: bool = Field(False, description="Fields of another size than `size` are resized to it ('field' views).")
    dtype: Literal["uint8", "uint16", "float32"] = Field(description="Data type of the plate's pixels.")
    percentiles: Percentiles | None = Field(
        None,
        description="Scale intensities by percentiles first; `mean`, `std` and the test input are then of the scaled ones.",
    )
    mean: list[float] = Field(description="A value a channel, intensity units of the plate: the training set's mean.")
    std: list[PositiveFloat] = Field(description="A value a channel, intensity units of the plate.")

    @model_validator(mode="after")
    def _one_value_a_channel(self) -> InputContract:
        for name in ("mean", "std"):
            if len(getattr(self, name)) != len(self.channels):
                raise ValueError(f"{name}: expected one value for each of the {len(self.channels)} channels")
        if self.overlap > min(self.size) // 2:
            raise ValueError(f"overlap: {self.overlap} px; expected at most {min(self.size) // 2}, half a view")
        if self.resize and (self.view != "field" or self.pixel_size_um):
            raise ValueError("resize: for 'field' views without a pixel_size_um; those with one are resized by it")
        return self

    def extent(self, field: tuple[int, int], pixel_size_um: float | None) -> tuple[int, int] | None:
        """Return height and width of a view in the pixels of a field; None where their size is wanted and not given (None, NaN)."""
        if self.resize:
            return field
        if self.pixel_size_um is None:
            return self.size
        if not (pixel_size_um and pixel_size_um > 0):
            return None
        scale = self.pixel_size_um / pixel_size_um
        height, width = (max(1, round(length * scale)) for length in self.size)
        return height, width

    def misfit(self, field: tuple[int, int], dtype: str, pixel_size_um: float | None) -> str:
        """Say why the classifier cannot be fed with such a field; nothing where it can."""
        if dtype != self.dtype:
            return f"pixels are {dtype}, the classifier was trained on {self.dtype}"
        size = self.extent(field, pixel_size_um)
        if size is None:
            return f"no pixel size is given; the classifier was trained at {self.pixel_size_um} µm"
        if field[0] < size[0] or field[1] < size[1] or (self.view == "field" and field != size):
            return f"the field is {field[0]} x {field[1]} px, the view {size[0]} x {size[1]} px{self._cure(field, size)}"
        return ""

    def _cure(self, field: tuple[int, int], size: tuple[int, int]) -> str:
        """Say what in model.yaml makes a view of such a field; nothing where `pixel_size_um` says how it is scaled already."""
        if self.pixel_size_um is not None:
            return ""
        resized = "view: field with resize: true resizes it as a whole"
        is_larger = field[0] >= size[0] and field[1] >= size[1]
        tiled = "view: tile cuts it into views (overlap: by how many px they overlap), " if is_larger else ""
        return f"; in model.yaml {tiled}{resized}, if that is what it was trained on"

    def tiles(self, field: tuple[int, int], extent: tuple[int, int]) -> list[Box]:
        """Return the tiles of `extent` that a field of that or a larger shape is cut into; raises as `tile_field`."""
        return tile_field(field, extent, round(self.overlap * extent[0] / self.size[0]))


class TestContract(Settings):
    """A stored input and the logits that the classifier must give for it."""

    file: FileName = Field(description="safetensors with `images` (b,c,h,w float32, raw intensities) and `logits` (b,k).")
    tolerance: float = Field(1e-4, gt=0, description="Largest allowed absolute difference of a logit.")


class TrainingRecord(Settings):
    """Where the classifier comes from, as its makers state it."""

    data: str = Field(description="What it was trained on.")
    split: str = Field(description="How training and test data were told apart.")
    held_out_accuracy: float | None = Field(None, ge=0, le=1, description="Its accuracy on the test data.")
    held_out_n: int | None = Field(None, ge=0, description="How many views that was measured on.")
    script: str = Field("", description="What trained it.")


class Contract(Settings):
    """A classifier's model.yaml."""

    name: PlainName = Field(description="Results are told under the config's name for it.")
    description: str = Field("", description="What it tells apart, in words.")
    format: Format = Field(
        "state_dict",
        description="What `weights` is: 'state_dict': tensors for the network of `architecture` (.safetensors, .pt, .pth, .ckpt); "
        "'torch_export': a program of torch.export (.pt2); 'torchscript': a scripted or traced module; 'onnx': an ONNX model "
        "in one file.",
    )
    architecture: Architecture | None = Field(
        None,
        description="For a state dict: module:factory, or timm:name or torchvision:name; the package must be in "
        "`classify.trusted_packages`.",
    )
    arguments: dict[str, Any] = Field({}, description="Keyword arguments of the factory.")
    weights: FileName = Field(description="The file beside model.yaml.")
    state_dict_key: str | None = Field(
        None, description="Under which key the state dict lies in a .pt, .pth or .ckpt file (none: it is the file)."
    )
    prefix: str = Field("", description="What each name of the state dict begins with and the network's own do not, e.g. 'module.'.")
    differentiable: bool = Field(
        True,
        description="Maps are learnt by gradients; an ONNX model is converted to torch for it. false: it is asked for scores alone, and "
        "explained by methods that need no more.",
    )
    scores: Literal["logits", "probabilities"] = Field(
        "logits", description="What the network returns. Of probabilities, whose rows sum to 1, the logarithm is taken."
    )
    sha256: Digest = Field(description="Digest of the weights file.")
    classes: Distinct[str] = Field(min_length=2, description="Class names in the order of the logits; none is 'call'.")
    input: InputContract
    test: TestContract
    training: TrainingRecord | None = None
    licence: str = Field("", description="Under which it may be used.")

    def depends_on(self) -> dict[str, Any]:
        """Return what the classifier's answers depend on, in plain form: not its name, nor what is told of its training."""
        always = self.model_dump(mode="json", include={"architecture", "arguments", "sha256", "classes", "input"})
        told = {"format", "state_dict_key", "prefix", "differentiable", "scores"}
        return always | self.model_dump(mode="json", include=told, exclude_defaults=True)

    def map_depends_on(self) -> dict[str, Any]:
        """Return what a map of a given class depends on: the names of the classes are none of it."""
        return {name: value for name, value in self.depends_on().items() if name != "classes"}

    @property
    def package(self) -> str:
        """The package whose code makes the network; empty where the weights' file does."""
        return (self.architecture or "").partition(":")[0].partition(".")[0]

    @property
    def code(self) -> str:
        """The foreign code that is run to make the network: a package by name, a program by its SHA-256; empty if there is none."""
        if self.format in PROGRAMS:
            return self.sha256
        return "" if self.package == "pcim" else self.package

    @property
    def offers(self) -> set[Need]:
        """What attribution methods may ask of it: a gradient only where it is differentiable, layers only of a state dict's network."""
        offered: set[Need] = {"nothing", "scores"}
        if self.differentiable:
            offered |= {"gradient", "parameters"}
            offered |= {"layers"} if self.format == "state_dict" else set()
        return offered

    @model_validator(mode="after")
    def _fits_its_format(self) -> Contract:
        if not self.weights.endswith(allowed := SUFFIXES[self.format]):
            raise ValueError(f"weights: {self.weights!r}: expected {' or '.join(allowed)} for format: {self.format}")
        if (self.architecture is not None) != (self.format == "state_dict"):
            raise ValueError(f"architecture: given if, and only if, format is state_dict; it is {self.format}")
        if self.format != "state_dict" and (self.arguments or self.prefix):
            raise ValueError(f"arguments, prefix: for format: state_dict alone, it is {self.format}")
        if self.format == "onnx" and "differentiable" not in self.model_fields_set:
            raise ValueError("differentiable: for format: onnx, say true (converted to torch) or false (scores alone)")
        if self.state_dict_key and (self.format != "state_dict" or self.weights.endswith(".safetensors")):
            raise ValueError("state_dict_key: for a state dict in a .pt, .pth or .ckpt file alone")
        return self

    @model_validator(mode="after")
    def _downloads_nothing(self) -> Contract:
        package = (self.architecture or "").partition(":")[0]
        if package in LIBRARIES and (loads := sorted(_DOWNLOADS & self.arguments.keys())):
            raise ValueError(f"arguments: {loads}: nothing is downloaded, {package} makes the network without weights")
        return self

    @field_validator("classes")
    @classmethod
    def _no_call(cls, classes: list[str]) -> list[str]:
        if CALL in classes:
            raise ValueError(f"{CALL!r} is what the settings call the class that a view is given; rename it")
        return classes


def read_contract(path: Path) -> tuple[Contract | None, list[str]]:
    """Read a model.yaml; return the contract, or None and every fault in words."""
    if path.is_dir():
        return None, [f"{path}: a folder; name the file in it, {path / 'model.yaml'}"]
    faults: list[str] = []
    written = read_yaml(path, faults)
    if written is None:
        return None, faults
    contract, found = parse(Contract, written)
    faults += found
    if contract is not None:
        named = {("weights",): contract.weights, ("test", "file"): contract.test.file}
        faults += [
            f"{path.parent / name}: no such file (named in {written.at(*keys)})"
            for keys, name in named.items()
            if not (path.parent / name).is_file()
        ]
    return (None if faults else contract), faults


def load_contract(path: Path) -> Contract:
    """Read a model.yaml.

    Raises
    ------
    ValueError
        With every fault in words.
    """
    contract, faults = read_contract(path)
    if contract is None:
        raise ValueError("\n".join(faults))
    return contract
