"""How many views, maps and fields a plate will have, estimated before any pixel is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcim.core.identity import ViewKey
from pcim.views.selection import is_selected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcim.campaign.input_tables import PlateEntry
    from pcim.classifiers.contract import Contract, InputContract
    from pcim.config.classifier import Select
    from pcim.config.config import Config
    from pcim.plates.inventory import Survey

OBJECTS_A_FIELD = 100
"""Objects that a field is taken to hold before anyone has counted."""


@dataclass(frozen=True)
class Workload:
    """What one classifier sees, which of its views are explained, and for how many targets."""

    contract: InputContract
    select: Select
    targets: int

    @classmethod
    def from_config(cls, config: Config, model: str, contract: Contract) -> Workload:
        """Read it from a campaign's config and a classifier's contract."""
        select = config.classifiers[model].select or config.attribute.select
        return cls(contract.input, select, len(config.attribute.targets))

    def views_a_field(self, survey: Survey) -> int:
        """Return the views of a field; a field that will be refused counts as one."""
        if self.contract.view == "object":
            return OBJECTS_A_FIELD
        extent = self.contract.extent(survey.shape, survey.pixel_size_um)
        is_small = extent is None or survey.shape[0] < extent[0] or survey.shape[1] < extent[1]
        if extent is None or is_small or self.contract.view == "field":
            return 1
        return len(self.contract.tiles(survey.shape, extent))

    def views(self, survey: Survey, wells: Iterable[str]) -> int:
        """Return the views of these wells, about."""
        return self.views_a_field(survey) * sum(len(survey.wells[well][1]) for well in wells)

    def maps(self, entry: PlateEntry, survey: Survey, wells: Iterable[str]) -> tuple[int, int]:
        """Return how many maps a method will make of these wells, about, and how many fields they lie in at most."""
        everything = self.select.model_copy(update={"fraction": 1.0})
        of_field = self.views_a_field(survey)
        explained = touched = 0.0
        for well in wells:
            row = entry.wells.get(well, {})
            fields_here = len(survey.wells[well][1])
            if not is_selected(ViewKey(entry.plate, "A", "1", "0", "0_0"), row, everything):
                continue
            share = 1.0 if self.select.controls and row.get("control_type") else self.select.fraction
            views = min(fields_here * of_field * share, self.select.per_well or float("inf"))
            explained += views
            touched += min(fields_here, views)
        return round(explained) * self.targets, round(touched)

    def files_a_field(self, survey: Survey, levels: int) -> int:
        """Return the files of a field of maps: groups, levels of image and label, weights, and the views' own maps if stored."""
        contract = self.contract
        extent = contract.extent(survey.shape, survey.pixel_size_um) or contract.size
        is_cut_evenly = not any(length % side for length, side in zip(survey.shape, extent, strict=True))
        as_they_lie = contract.view != "object" and not contract.overlap and extent == contract.size and is_cut_evenly
        return 3 + 4 * levels + 3 + (0 if as_they_lie else 2)
