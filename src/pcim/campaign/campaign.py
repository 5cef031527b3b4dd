"""The campaign: config, plates, plate maps and contracts read together, every fault found before any work.

The Snakefile asks a `Campaign` for the paths of its rules, so this module stays light: no torch, no zarr, no pandas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from pcim.campaign import cost
from pcim.campaign.consistency import Inputs
from pcim.campaign.input_tables import CampaignError, PlateEntry
from pcim.campaign.plan import plan_plates
from pcim.campaign.plan_file import Plans, PlatePlan, plan_file, read_plan
from pcim.campaign.workload import Expected
from pcim.config.methods import method_read
from pcim.config.yaml_lines import Written
from pcim.core.plate_source import Source
from pcim.plates.vendors import OMEZARR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
    def load(cls, values: Mapping[str, Any] | Written, *, look_at_plates: bool = True) -> Campaign:
        """Read what `config.yaml` names and check it; with a `Written`, faults say the lines.

        `look_at_plates` also reads every plate map and every plate's own metadata (small files) and plans what is not planned
        yet: once a run. A job does not look: it reads the plans that the run has written, each when it is asked for.

        Raises
        ------
        CampaignError
            With every fault found: place, value, what is allowed.
        """
        faults: list[str] = []
        written = values if isinstance(values, Written) else Written(values)
        inputs = Inputs.read(written, faults, platemaps=look_at_plates)
        if inputs is None:
            raise CampaignError(faults)
        campaign = cls.of(inputs, faults, look_at_plates=look_at_plates)
        if faults:
            raise CampaignError(faults)
        if look_at_plates and (over := cost.excess(campaign)):
            raise CampaignError([*over, cost.table(campaign)])
        return campaign

    @classmethod
    def of(cls, inputs: Inputs, faults: list[str], *, look_at_plates: bool = True) -> Campaign:
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
            file = plan_file(self.name, plate)
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

    def expected(self, model: str) -> Expected:
        """Return what a classifier sees and what of it is explained."""
        return Expected.of(self.config, model, self.contracts[model])

    @cached_property
    def sources(self) -> dict[str, Source]:
        """Plate -> the OME-Zarr plate that its jobs read: the source itself, or what its export was converted into."""
        return {name: self._source(name, plate.source) for name, plate in self.plates.items()}

    def _source(self, plate: str, source: Source) -> Source:
        converted = f"results/{self.name}/ingest/{plate}/plate.zarr"
        return source if source.format == OMEZARR else Source(converted)

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

    # What the rules ask. Each takes Snakemake's wildcards.

    def metadata(self, wildcards: Any) -> str:
        """Return the digest of a plate's own metadata: a plate that gained wells is ingested again, a touched one is not."""
        return self.plans[wildcards.plate].survey.digest

    def conversion(self, wildcards: Any) -> list[str]:
        """Return the table of a plate's conversion, where it is converted."""
        converted = self.plates[wildcards.plate].source.format != OMEZARR
        return [f"results/{self.name}/ingest/{wildcards.plate}/conversion.parquet"] * converted

    def input_contract(self, wildcards: Any) -> dict[str, Any]:
        """Return the channels and percentiles that a classifier is fed with."""
        return self.contracts[wildcards.model].input.model_dump(mode="json", include={"channels", "percentiles"})

    def names(self, wildcards: Any) -> dict[str, list[str]]:
        """Return what a classifier calls its classes and its channels."""
        contract = self.contracts[wildcards.model]
        return {"classes": list(contract.classes), "channels": list(contract.input.channels)}

    def intensities(self, wildcards: Any) -> list[str]:
        """Return the tables of intensities of the rule's plate, or of all plates of its classifier, where there are any."""
        if self.contracts[wildcards.model].input.percentiles is None:
            return []
        one = wildcards.get("plate")
        plates = [one] if one else self.config.classifiers[wildcards.model].plates
        return [f"results/{self.name}/ingest/{plate}/intensities/{wildcards.model}.parquet" for plate in plates]

    def crops(self, wildcards: Any) -> dict[str, Any] | None:
        """Return what a classifier's crops are cut around; None where it sees whole fields or tiles."""
        crops = self.config.classifiers[wildcards.model].crops
        return None if crops is None else crops.model_dump(mode="json")

    def crops_table(self, wildcards: Any) -> list[str]:
        """Return the table of places that a classifier's crops are cut around, where it is a table."""
        crops = self.config.classifiers[wildcards.model].crops
        return [str(crops.table)] if crops is not None and crops.table is not None else []

    def objects_found(self, wildcards: Any) -> list[str]:
        """Return the table of the objects of the rule's plate, for a classifier that looks at objects."""
        found = f"results/{self.name}/ingest/{wildcards.plate}/objects/{wildcards.model}.parquet"
        return [] if self.crops(wildcards) is None else [found]

    def export(self, wildcards: Any) -> dict[str, Any]:
        """Return the plain form of a plate's own source, before any conversion."""
        return self.plates[wildcards.plate].source.plain()

    def platemap(self, wildcards: Any) -> Path:
        """Return a plate's plate map."""
        return self.plates[wildcards.plate].platemap

    def store(self, wildcards: Any) -> dict[str, Any]:
        """Return the plain form of the OME-Zarr plate that jobs read (see `source.Source`)."""
        return self.sources[wildcards.plate].plain()

    def chunk(self, wildcards: Any) -> dict[str, Any]:
        """Return what every job on a chunk is told: where, which wells, and what is let pass (see `chunkjob.ChunkJob`)."""
        return {
            "store": self.store(wildcards),
            "wells": self.plans[wildcards.plate].chunks[wildcards.chunk],
            "trusted_packages": self.config.classify.trusted,
            "accept": self.config.ingest.accept,
            "max_failed": self.config.max_failed,
        }

    def model(self, wildcards: Any) -> Path:
        """Return a classifier's model.yaml."""
        return self.config.classifiers[wildcards.model].model

    def weights(self, wildcards: Any) -> Path:
        """Return the file with a classifier's weights."""
        return self.model(wildcards).parent / self.contracts[wildcards.model].weights

    def attribute_settings(self, wildcards: Any) -> dict[str, Any]:
        """Return the settings of one method's job: a change reruns that method and no other."""
        entry, settings = self.config.classifiers[wildcards.model], self.config.attribute
        select = (entry.select or settings.select).model_dump()
        shared = {"select": select, "targets": settings.targets, "batch_size": settings.batch_size}
        return settings.of_method(wildcards.method) | shared

    def regions(self, wildcards: Any) -> dict[str, Any]:
        """Return the named regions of a classifier, as in the config."""
        entry = self.config.classifiers[wildcards.model]
        return {name: region.model_dump() for name, region in entry.regions.items()}

    def objects(self, wildcards: Any) -> str | None:
        """Return the name of the region that holds the biology of a classifier, if it has one."""
        return self.config.classifiers[wildcards.model].objects

    def halo_px(self, wildcards: Any) -> float:
        """Return how much around its objects travels with them in an exchange, px."""
        return self.config.classifiers[wildcards.model].halo_px

    def stores(self, wildcards: Any) -> dict[str, dict[str, Any]]:
        """Return the OME-Zarr plates that a classifier's jobs read: plate -> plain form."""
        return {plate: self.sources[plate].plain() for plate in self.config.classifiers[wildcards.model].plates}

    def read_maps(self, wildcards: Any) -> dict[str, str]:
        """Return the plates of maps of the method that is read: plate -> path."""
        root = f"results/{self.name}/maps/{wildcards.model}"
        return {
            plate: f"{root}/{plate}_{self.read_method}.zarr"
            for plate in self.config.classifiers[wildcards.model].plates
        }

    @property
    def models(self) -> list[Path]:
        """The model.yaml of every classifier, in the order of the config."""
        return [entry.model for entry in self.config.classifiers.values()]

    def all_stores(self, _: Any) -> dict[str, dict[str, Any]]:
        """Return the OME-Zarr plate of every plate: plate -> plain form."""
        return {name: source.plain() for name, source in self.sources.items()}

    def of_chunks(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every chunk of the rule's plate; a ``{method}`` in it is the one that is read."""
        return lambda wildcards: [
            pattern.format(**{"method": self.read_method, **wildcards}, chunk=chunk)
            for chunk in self.plans[wildcards.plate].chunks
        ]

    def of_methods(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every method, and for every chunk of the rule's plate if it names one."""
        methods = self.config.attribute.methods

        def fill(wildcards: Any) -> list[str]:
            chunks = [wildcards["chunk"]] if "chunk" in wildcards.keys() else list(self.plans[wildcards.plate].chunks)  # noqa: SIM118
            known = {name: value for name, value in wildcards.items() if name != "chunk"}
            return [pattern.format(**known, method=method, chunk=chunk) for method in methods for chunk in chunks]

        return fill

    def of_plates(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every plate of the rule's classifier, and for every chunk of each.

        A ``{method}`` in it is the method that is read: all of them explain the same views.
        """

        def fill(wildcards: Any) -> list[str]:
            known = {"method": self.read_method, **wildcards}
            plates = self.config.classifiers[wildcards.model].plates
            pairs = [(plate, chunk) for plate in plates for chunk in self.plans[plate].chunks]
            return list(dict.fromkeys(pattern.format(**known, plate=plate, chunk=chunk) for plate, chunk in pairs))

        return fill

    def of_pairs(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every pair of classifiers that see the same views of a plate."""
        return lambda wildcards: [
            pattern.format(**wildcards, model=one, plate=plate, other=other) for one, plate, other in self.pairs
        ]

    def everywhere(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every classifier, plate, method and chunk of the campaign, each path once."""

        def fill(wildcards: Any) -> list[str]:
            paths = [
                pattern.format(**wildcards, model=model, plate=plate, method=method, chunk=chunk)
                for model, plate in self.explained_plates
                for method in self.config.attribute.methods
                for chunk in self.plans[plate].chunks
            ]
            return list(dict.fromkeys(paths))

        return fill
