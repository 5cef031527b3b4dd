"""Load a campaign: its config, plates, plate maps and contracts, checked before any work.

The Snakefile loads it, and every job reads the Snakefile again, so this module stays light: no torch, no zarr, no pandas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from pcim.campaign import layout
from pcim.campaign.consistency import CampaignInputs
from pcim.campaign.input_tables import CampaignError, PlateEntry
from pcim.campaign.plan import plan_plates
from pcim.campaign.plan_file import Plans, PlatePlan, read_plan
from pcim.campaign.workload import Workload
from pcim.config.methods import method_read
from pcim.config.yaml_lines import YamlSource
from pcim.core.plate_source import Source
from pcim.plates.vendors import OMEZARR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pcim.classifiers.contract import Contract
    from pcim.config.config import Config


@dataclass(frozen=True)
class Campaign:
    """A campaign whose inputs agree with one another."""

    config: Config
    plates: Mapping[str, PlateEntry]
    contracts: dict[str, Contract]
    plans: Mapping[str, PlatePlan]

    @classmethod
    def load(cls, values: Mapping[str, Any] | YamlSource, *, look_at_plates: bool = True) -> Campaign:
        """Read what `config.yaml` names and check it; with a `YamlSource`, faults say the lines.

        `look_at_plates` also reads every plate map and every plate's own metadata (small files) and plans what is not planned
        yet: once a run. A job does not look: it reads the plans that the run has written, each when it is asked for.

        Raises
        ------
        CampaignError
            With every fault found: place, value, what is allowed.
        """
        faults: list[str] = []
        written = values if isinstance(values, YamlSource) else YamlSource(values)
        inputs = CampaignInputs.read(written, faults, platemaps=look_at_plates)
        if inputs is None:
            raise CampaignError(faults)
        campaign = cls.from_inputs(inputs, faults, look_at_plates=look_at_plates)
        if faults:
            raise CampaignError(faults)
        return campaign

    @classmethod
    def from_inputs(cls, inputs: CampaignInputs, faults: list[str], *, look_at_plates: bool = True) -> Campaign:
        """Plan the campaign and check that its inputs agree; with faults, it is what the sound ones make."""
        config, plates = inputs.config, inputs.plates
        faults.extend(inputs.of_classifiers())
        sound = {name: contract for name, contract in inputs.contracts.items() if contract}
        plans = plan_plates(config, plates, sound, faults) if look_at_plates else Plans(config.campaign, plates)
        for name in plates if look_at_plates else ():
            if name in plans:
                faults.extend(inputs.of_plate(plates[name], plans[name].survey))
        return cls(config, plates, sound, plans)

    def write_plans(self) -> None:
        """Write the plan of every plate whose plan is new or has grown."""
        for plate, plan in self.plans.items():
            file = layout.plan_file(layout.results_of(self.name), plate)
            if read_plan(file) != plan:
                plan.write(file)

    @property
    def name(self) -> str:
        """The campaign's name; its results lie in ``results/{name}``."""
        return self.config.campaign

    @cached_property
    def chunks(self) -> dict[str, Mapping[str, list[str]]]:
        """Plate -> chunk -> its wells."""
        return {name: plan.chunks for name, plan in self.plans.items()}

    def workload(self, model: str) -> Workload:
        """Return what a classifier sees and what of it is explained."""
        return Workload.from_config(self.config, model, self.contracts[model])

    @cached_property
    def sources(self) -> dict[str, Source]:
        """Plate -> the OME-Zarr plate that its jobs read: the source itself, or what its export was converted into."""
        return {name: self._source(name, plate.source) for name, plate in self.plates.items()}

    def _source(self, plate: str, source: Source) -> Source:
        if source.format == OMEZARR:
            return source
        return Source(str(layout.converted_plate(layout.results_of(self.name), plate)))

    @property
    def explained_plates(self) -> list[tuple[str, str]]:
        """Every (classifier, plate) pair of the campaign."""
        return [(model, plate) for model, entry in self.config.classifiers.items() for plate in entry.plates]

    @property
    def read_method(self) -> str:
        """The method whose maps are read, exchanged and compared."""
        return method_read(self.config.attribute.methods)

    @property
    def pairs(self) -> list[tuple[str, str, str]]:
        """Every (classifier, plate, later classifier) that see the same views: of one kind, and of one size on that plate."""
        entries = self.config.classifiers
        return [
            (one, plate, other)
            for one, other in combinations(entries, 2)
            for plate in entries[one].plates
            if plate in entries[other].plates and self._sees(one, plate) == self._sees(other, plate)
        ]

    def _sees(self, model: str, plate: str) -> tuple[str, tuple[int, int] | None]:
        """Return what a classifier's views of a plate are: their kind, and their size in its pixels."""
        contract, survey = self.contracts[model].input, self.plans[plate].survey
        return contract.view, contract.extent(survey.shape, survey.pixel_size_um)

    @property
    def models(self) -> list[Path]:
        """The model.yaml of every classifier, in the order of the config."""
        return [entry.model for entry in self.config.classifiers.values()]
