"""Find every fault of a campaign before anything runs. No lock is taken and nothing is written.

The doctor asks whether this machine or cluster is able, this asks whether the campaign is right.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pcim.campaign import cost
from pcim.campaign.campaign import Campaign
from pcim.campaign.consistency import CampaignInputs
from pcim.campaign.input_tables import CampaignError
from pcim.config.yaml_lines import read_together
from pcim.operations.doctor import machine
from pcim.operations.doctor.machine import Check
from pcim.plates.ngff_json import NgffError
from pcim.plates.vendors import READERS, read_export
from pcim.plates.vendors.failed_files import MAX_LOOKED_AT, files_of, lacking

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORM = 1
_NAMED = 5


@dataclass
class Validation:
    """Every fault, a line each, and what was found sound; the costs, by plate, of a campaign without faults."""

    campaign: str = ""
    faults: list[str] = field(default_factory=list)
    found: list[Check] = field(default_factory=list)
    costs: dict[str, cost.Cost] = field(default_factory=dict)
    table: str = ""

    def note(self, check: Check) -> None:
        """Take up a check: one that failed is a fault, with what to do."""
        if check.state == "failed":
            self.faults.append(f"{check.name}: {check.found}{' -> ' * bool(check.cure)}{check.cure}")
        else:
            self.found.append(check)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        costs = {plate: asdict(cost) for plate, cost in self.costs.items()}
        found = [asdict(check) for check in self.found]
        told = {"campaign": self.campaign, "is_valid": not self.faults, "faults": self.faults, "found": found}
        return {"form": FORM, **told, "costs": costs}


def validate(files: Sequence[Path]) -> Validation:
    """Check a config and all that it names: tables, plate maps, contracts, the plates' metadata, classifiers, budget and space."""
    told = Validation()
    told.faults = [f"{file}: no such file; name it by --configfile" for file in files if not file.is_file()]
    if told.faults:
        return told  # what a config lacks that nobody has read is no fault of its own
    written = read_together(files, told.faults)
    if written.values is None:
        return told
    try:
        inputs = CampaignInputs.read(written, told.faults)
        campaign = Campaign.from_inputs(inputs, told.faults) if inputs else None
    except CampaignError as error:  # a secret: nothing more is read
        told.faults = error.faults
        return told
    if inputs is None or campaign is None:
        return told
    told.campaign = campaign.name
    is_sound = not told.faults
    for check in _try_classifiers(inputs):
        told.note(check)
    told.faults.extend(_of_places(inputs))
    for check in _look_for_files(inputs):
        told.note(check)
    told.note(machine.check_writable(campaign.name))
    if is_sound:
        _count_costs(campaign, told)
    return told


def _try_classifiers(inputs: CampaignInputs) -> Iterator[Check]:
    """Load every classifier on the CPU, as a job does: its digest, its architecture, the logits of its stored test input."""
    from pcim.classifiers.classifier import load_classifier, pick_device

    device = pick_device(0)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is written beside a user's package either
    try:
        for name, contract in inputs.contracts.items():
            where, started = inputs.written.at("classifiers", name, "model"), time.perf_counter()
            if contract is None or any(inputs.of_code(name)):
                continue  # told already, and nothing untrusted is run
            try:
                load_classifier(inputs.config.classifiers[name].model, inputs.config.classify.trusted_code, device)
            except Exception as error:  # noqa: BLE001 - an architecture is a user's code: it may raise anything
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                yield Check(where, "failed", f"{kind}{' '.join(str(error).split())}")
            else:
                seconds = time.perf_counter() - started
                what = f"tells {', '.join(contract.classes)} from {', '.join(contract.input.channels)}"
                yield Check(f"classifier {name}", "ok", f"{what}; loaded, and its test input gives its logits ({seconds:.1f} s)")
    finally:
        sys.dont_write_bytecode = kept


def _of_places(inputs: CampaignInputs) -> Iterator[str]:
    """Yield what is wrong in the tables of places that crops are cut around."""
    from pcim.views.objects import read_places

    for name, entry in inputs.config.classifiers.items():
        if entry.crops is None or entry.crops.table is None or not entry.crops.table.is_file():
            continue
        for plate in entry.plates:
            try:
                read_places(entry.crops.table, plate)
            except (ValueError, OSError) as error:
                yield f"{inputs.written.at('classifiers', name, 'crops', 'table')}: {error}"
                break


def _look_for_files(inputs: CampaignInputs) -> Iterator[Check]:
    """Tell which files of exports are not there or empty: no fault, as each becomes a row with a reason and the plate goes on."""
    left = MAX_LOOKED_AT
    for name, entry in inputs.plates.items():
        if entry.source.format not in READERS:
            continue
        try:
            export = read_export(entry.source)
        except NgffError:
            continue  # told already
        files = files_of(export)
        bad = [f"{file}: {why}" for file, why in lacking(export.root, files[:left])]
        more = f"; the first {left:,} were looked at" if len(files) > left else ""
        left = max(0, left - len(files))
        if bad:
            some = f"{'; '.join(bad[:_NAMED])}{f' and {len(bad) - _NAMED} more' if len(bad) > _NAMED else ''}"
            told = f"of {len(files):,} files {len(bad):,} cannot be read: {some}{more}"
            yield Check(f"plate {name}", "warning", told, "put them back; else their fields are rows with that reason")


def _count_costs(campaign: Campaign, told: Validation) -> None:
    """Note what a sound campaign holds and will cost, and whether there is room for it."""
    surveys = [plan.survey for plan in campaign.plans.values()]
    wells = sum(len(survey.wells) for survey in surveys)
    fields = sum(len(names) for survey in surveys for _, names in survey.wells.values())
    told.note(Check("plates", "ok", f"{len(surveys)}, with {wells:,} wells and {fields:,} fields"))
    told.costs, told.table = cost.costs(campaign), cost.table(campaign)
    told.faults.extend(cost.excess(campaign))
    for check in machine.check_space(campaign):
        told.note(check)
