"""``pcim init``: the files of a new campaign."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from pcim.cli.terminal import console, refuse

if TYPE_CHECKING:
    from pcim.campaign.scaffold.campaign_files import CampaignDraft

_NO_MODEL = "--model MODEL.YAML: the classifier's contract. There is none yet? pcim adopt makes one of weights (docs/own-model.md)"


def init(  # noqa: PLR0913, PLR0917 - a command's options
    folder: Annotated[Path | None, typer.Argument(help="The campaign's own folder; it is made.", show_default=False)] = None,
    plates: Annotated[
        list[str] | None,
        typer.Option(help="A plate, or a folder that plates are looked for in, of any format; again for another."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="The classifier's model.yaml, or its folder.")] = None,
    platemap: Annotated[
        Path | None,
        typer.Option(help="A plate map that there is, as CSV: its rows are taken over, by plate where it has a column plate."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the campaign.", show_default="after its folder")] = "",
    objects: Annotated[str, typer.Option(help="The label image of the plates that holds the biology.")] = "",
    places: Annotated[Path | None, typer.Option(help="Table of places, for a classifier of crops.")] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="A Python package that makes the classifier, or its program's SHA-256: its code will be run."),
    ] = None,
    channels: Annotated[str, typer.Option(help="Labels of the channels, comma separated, where plates have none or others.")] = "",
    z: Annotated[str, typer.Option(help="Of stacks: the plane, from 0, or max or mean.")] = "",
    t: Annotated[str, typer.Option(help="Of time series: the time point, from 0.")] = "",
    acquisition: Annotated[str, typer.Option(help="Of plates with several acquisitions: the id of one.")] = "",
) -> None:
    """Make a campaign's files from a folder of plates and a classifier: config, table of plates, plate maps with all wells.

    Plates are looked at, not written to; only their metadata is read. In a terminal, what no option says is asked. Nothing is ever
    overwritten. What it writes passes pcim validate as it is.

    For example:
        pcim init my_screen
        pcim init my_screen --plates /data/screen --model my_model/model.yaml
        pcim init my_screen --plates /data/p1 --model my_model --platemap layout.csv --objects nuclei

    Exit codes:
        0  the files are written, and what to do next is told
        2  something is missing or wrong, and nothing is written
    """
    from pcim.campaign.scaffold.campaign_files import campaign_name, write_files
    from pcim.cli.setup_output import show_draft, show_found

    is_asked = sys.stdin.isatty() and sys.stdout.isatty()
    model = model or _sole_model(folder)
    if is_asked:
        folder = folder or _path("Folder of the campaign")
        plates = plates or [str(place) for place in (_there("Folder of the plates"),) if place]
        model = model or _there("The classifier's model.yaml")
        platemap = platemap or _there("A plate map as CSV, if there is one; empty: one to fill in is written")
    if folder is None or not plates or model is None:
        wanted = (
            ("FOLDER: the campaign's own", folder),
            ("--plates FOLDER: where the plates lie", plates),
            (_NO_MODEL, model),
        )
        _stop([what for what, given in wanted if not given])
    row = {"path": "", "z": z, "t": t, "channels": channels, "acquisition": acquisition}
    draft = _look(folder, plates, model, platemap, row)
    if is_asked and not channels and draft.channels_to_name:
        row["channels"] = _channels(draft.channels_to_name, draft.contract.input.channels)
        draft = _look(folder, plates, model, platemap, row)
    screen = console()
    show_found(screen, draft.plates)
    draft = replace(draft, name=name or campaign_name(folder), objects=objects, places=places, trusted=tuple(trust or ()))
    draft = _ask(draft) if is_asked else _sole_objects(draft)
    if faults := draft.faults():
        _stop(faults)
    files = draft.files()
    try:
        write_files(files)
    except OSError as error:
        refuse(error)
    show_draft(screen, draft, files)


def _look(folder: Path, plates: list[str], model: Path, platemap: Path | None, row: dict[str, str]) -> CampaignDraft:
    """Read the contract, the plate map and the plates; return a draft."""
    from pcim.campaign.input_tables import read_source
    from pcim.campaign.scaffold.campaign_files import CampaignDraft
    from pcim.campaign.scaffold.discover import survey_plates
    from pcim.campaign.scaffold.platemap_template import ExistingPlateMap, read_given
    from pcim.classifiers.contract import read_contract

    model = model / "model.yaml" if model.is_dir() else model
    contract, unfit = read_contract(model)
    faults = [f"--model: {fault}" for fault in unfit]
    given = read_given(platemap, faults) if platemap else ExistingPlateMap()
    planes = read_source(row, "--z, --t, --channels, --acquisition", faults)
    found = survey_plates(plates, planes, contract.input.channels if contract else (), faults)
    if not found and not faults:
        faults.append(_no_plate(plates))
    if faults or contract is None:
        _stop(faults)
    return CampaignDraft(folder, "", found, model, contract, given)


def _no_plate(places: list[str]) -> str:
    """Say that there is no plate, and how TIFFs become one."""
    from pcim.plates.vendors.imagexpress import named_otherwise
    from pcim.plates.vendors.tiles import OPTIONAL, REQUIRED

    others = next((found for place in places if (found := named_otherwise(Path(place))[1])), [])
    told = f", as {others[0]} is not" if others else ""
    return (
        f"no plate at or below {', '.join(places)}: neither OME-Zarr nor a known export. TIFFs that are all named "
        f"{{well}}_s{{site}}_w{{channel}}.tif go in as they are{told}; any others with a tiles.csv beside them, columns "
        f"{', '.join(REQUIRED)}, and where there are several {', '.join(OPTIONAL)} (docs/plates.md)"
    )


def _path(asked: str) -> Path | None:
    """Ask for a path, which a terminal quotes where it is dropped into it; None for nothing."""
    answer = str(typer.prompt(asked, default="", show_default=False)).strip().strip("'\"")
    return Path(answer) if answer else None


def _there(asked: str) -> Path | None:
    """Ask for a path until something lies there; None for nothing."""
    while (path := _path(asked)) and not path.exists():
        typer.echo(f"{path}: no such file or folder{'' if path.is_absolute() else f' in {Path.cwd()}'}")
    return path


def _channels(there: list[str], wanted: list[str]) -> str:
    """Ask for names of the plates' channels until they are as many, with the classifier's among them; empty for none."""
    told = f"The plates call their channels {', '.join(there)}; the classifier looks at {', '.join(wanted)}."
    asked = f"{told} Name all {len(there)}, in the plates' order, comma separated; empty: leave them"
    while answer := str(typer.prompt(asked, default="", show_default=False)).strip():
        names = [name.strip() for name in answer.split(",")]
        if len(names) == len(there) and set(wanted) <= set(names):
            return ",".join(names)
        typer.echo(f"{answer!r}: expected {len(there)} names, {', '.join(wanted)} among them")
    return ""


def _sole_model(folder: Path | None) -> Path | None:
    """Return the model.yaml below the campaign's folder, if there is one and one only."""
    there = [*folder.glob("model.yaml"), *folder.glob("*/model.yaml")] if folder else []
    return there[0] if len(there) == 1 else None


def _ask(draft: CampaignDraft) -> CampaignDraft:
    """Ask what no option said and more than one answer fits."""
    objects, trusted, package = draft.objects, draft.trusted, draft.contract.code
    if not objects and draft.labels and draft.places is None:
        told = f"Which label holds the biology? One of {', '.join(draft.labels)}; empty: none"
        objects = typer.prompt(told, default=draft.labels[0] if len(draft.labels) == 1 else "")
    if package and package not in trusted and typer.confirm(f"The classifier is code of {package!r}. Run it?"):
        trusted = (*trusted, package)
    return replace(draft, objects=objects, trusted=trusted)


def _sole_objects(draft: CampaignDraft) -> CampaignDraft:
    """Take the one label that there is for the one that holds the biology."""
    is_clear = len(draft.labels) == 1 and not draft.objects and draft.places is None
    return replace(draft, objects=draft.labels[0]) if is_clear else draft


def _stop(faults: list[str]) -> NoReturn:
    """Tell every fault, and end."""
    listed = "\n".join(f"  {number}. {fault}" for number, fault in enumerate(faults, 1))
    refuse(ValueError(f"missing or wrong, and nothing was written:\n{listed}"))
