"""``pcim adopt``: a model folder from a file of weights of any form, or from a package of the BioImage Model Zoo."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer needs the name at run time
from typing import Annotated, Any

import typer

from pcim.cli.terminal import refuse


def adopt(  # noqa: PLR0913, PLR0917 - what is to be known of a classifier
    source: Annotated[Path, typer.Argument(help="Weights, or a package of the BioImage Model Zoo: rdf.yaml or zip.")],
    into: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    images: Annotated[
        Path | None,
        typer.Option(help=".npy or .safetensors with some raw views (n,c,h,w) as on the plate; a package has its own."),
    ] = None,
    logits: Annotated[
        Path | None,
        typer.Option(help="The same with the scores (n,k) that are known to come of them, which are compared."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="So much may the network's scores be off from --logits: more where --mean is rounded.")
    ] = 1e-4,
    channels: Annotated[str, typer.Option(help="Channel labels on the plate, in the input's order: GFP,DNA.")] = "",
    classes: Annotated[str, typer.Option(help="Class names in the order of the scores: negative,positive.")] = "",
    mean: Annotated[str, typer.Option(help="The training set's mean a channel, intensities of the plate.")] = "",
    std: Annotated[str, typer.Option(help="Its standard deviation a channel.")] = "",
    view: Annotated[str, typer.Option(help="field, tile or object: what it looks at.")] = "tile",
    dtype: Annotated[str, typer.Option(help="uint8, uint16 or float32.", show_default="as the images are")] = "",
    more_input: Annotated[
        str,
        typer.Option("--input", help="More keys of model.yaml's input, as YAML: '{overlap: 16, pixel_size_um: 0.65}'."),
    ] = "",
    form: Annotated[
        str,
        typer.Option("--format", help="state_dict, torch_export, torchscript or onnx.", show_default="by the suffix"),
    ] = "",
    architecture: Annotated[str, typer.Option(help="For a state dict: module:factory, timm:name, torchvision:name.")] = "",
    arguments: Annotated[str, typer.Option(help="The factory's arguments, as YAML: '{classes: 2}'.")] = "",
    state_dict_key: Annotated[str, typer.Option(help="Where the state dict lies in the file.")] = "",
    prefix: Annotated[str, typer.Option(help="What its names begin with and the network's do not.")] = "",
    scores: Annotated[str, typer.Option(help="logits or probabilities.", show_default="logits")] = "",
    forward_only: Annotated[bool, typer.Option("--forward-only", help="Ask for scores alone, not gradients.")] = False,
    trust: Annotated[list[str] | None, typer.Option(help="A package whose code makes the network; again.")] = None,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run the code in a program file.")] = False,
) -> None:
    r"""Make a model folder: model.yaml with the digest, the weights, and test images with the logits that the network gives for them.

    It downloads nothing, changes no file that is there, and prints what the config needs. docs/own-model.md has every form.

    For example:
        pcim adopt net.pt --into my/model --architecture my_package.nets:make --trust my_package --images views.npy \
            --channels GFP,DNA --classes negative,positive --mean 812,340.5 --std 501.2,288
        pcim adopt package.zip --into my/model

    Exit codes:
        0  made
        2  refused, and why
    """
    import yaml

    from pcim.classifiers.packaging.import_model import PACKAGES, format_of, make, next_steps, odd_channels

    told: dict[str, Any] = {
        "channels": channels.split(",") if channels else None,
        "mean": mean.split(",") if mean else None,
        "std": std.split(",") if std else None,
        "view": view,
        "dtype": dtype or None,
        "name": into.name if source.suffix not in PACKAGES else None,
        "classes": classes.split(",") if classes else None,
        "architecture": architecture or None,
        "state_dict_key": state_dict_key or None,
        "prefix": prefix or None,
        "scores": scores or None,
        "differentiable": False if forward_only else None,
    }
    told = {key: value for key, value in told.items() if value is not None}
    trusted = ["pcim", *(trust or [])]
    try:
        told |= {"arguments": yaml.safe_load(arguments)} if arguments else {}
        told |= _keys(yaml.safe_load(more_input)) if more_input else {}
        contract = make(source, into, images, logits, tolerance, format_of(source, form, architecture), told, trusted, trust_code)
    except (ValueError, OSError, yaml.YAMLError) as error:
        refuse(error)
    for warning in odd_channels(into, contract):
        typer.echo(f"pcim: warning: {warning}", err=True)
    typer.echo("\n".join(next_steps(into, contract, trust or [])))


def _keys(more: Any) -> dict[str, Any]:
    if not isinstance(more, dict):
        raise ValueError(f"--input {more!r}: expected keys and values, as in '{{overlap: 16}}'")  # noqa: TRY004 - told as the others are
    return more
