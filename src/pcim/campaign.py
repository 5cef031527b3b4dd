"""The campaign: config, plates, plate maps and contracts read together, every fault found before any work.

The Snakefile asks a `Campaign` for the paths of its rules, so this module stays light: no torch, no zarr, no pandas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pcim import ngff
from pcim.chunks import plan_chunks
from pcim.config import Config
from pcim.faults import parse
from pcim.inputs import CampaignError, PlateEntry, check_classifier, look_at_plate, read_model, read_plates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pcim.contract import Contract


@dataclass(frozen=True)
class Campaign:
    """A campaign whose inputs agree with one another."""

    config: Config
    plates: dict[str, PlateEntry]
    contracts: dict[str, Contract]

    @classmethod
    def load(cls, values: Mapping[str, Any], *, look_at_plates: bool = True) -> Campaign:
        """Read what `config.yaml` names and check it.

        `look_at_plates` also reads every plate's own metadata (small JSON files): once a run, not once a job.

        Raises
        ------
        CampaignError
            With every fault found: place, value, what is allowed.
        """
        config, faults = parse(Config, values, "config")
        if config is None:
            raise CampaignError(faults)
        plates = read_plates(config.plates, faults)
        contracts = {name: read_model(name, entry, faults) for name, entry in config.classifiers.items()}
        for name, entry in config.classifiers.items():
            check_classifier(name, entry, contracts[name], config, plates, faults)
        if look_at_plates:
            for plate in plates.values():
                look_at_plate(plate, config, contracts, faults)
        if faults:
            raise CampaignError(faults)
        return cls(config, plates, {name: contract for name, contract in contracts.items() if contract})

    @property
    def name(self) -> str:
        """The campaign's name; its results lie in ``results/{name}``."""
        return self.config.campaign

    @cached_property
    def chunks(self) -> dict[str, dict[str, list[str]]]:
        """Plate -> chunk -> its wells."""
        return {name: plan_chunks(plate.wells, self.config.wells_per_chunk) for name, plate in self.plates.items()}

    @property
    def explained_plates(self) -> list[tuple[str, str]]:
        """Every (classifier, plate) pair of the campaign."""
        return [(model, plate) for model, entry in self.config.classifiers.items() for plate in entry.plates]

    # What the rules ask. Each takes Snakemake's wildcards.

    def plate_metadata(self, wildcards: Any) -> Path:
        """Return the small file at the root of a plate that stands for it as a rule's input."""
        try:
            return ngff.metadata_file(self.plates[wildcards.plate].path)
        except ngff.NgffError:  # a job may be planned where the plate is not mounted
            return self.plates[wildcards.plate].path / "zarr.json"

    def platemap(self, wildcards: Any) -> Path:
        """Return a plate's plate map."""
        return self.plates[wildcards.plate].platemap

    def store(self, wildcards: Any) -> str:
        """Return a plate's OME-Zarr store."""
        return str(self.plates[wildcards.plate].path)

    def chunk(self, wildcards: Any) -> dict[str, Any]:
        """Return what every job on a chunk is told: where, which wells, and what is let pass (see `jobs.ChunkJob`)."""
        return {
            "store": self.store(wildcards),
            "wells": self.chunks[wildcards.plate][wildcards.chunk],
            "trusted_packages": self.config.classify.trusted_packages,
            "accept": self.config.ingest.accept,
            "max_failed": self.config.max_failed,
        }

    def model(self, wildcards: Any) -> Path:
        """Return a classifier's model.yaml."""
        return self.config.classifiers[wildcards.model].model

    def weights(self, wildcards: Any) -> Path:
        """Return the file with a classifier's weights."""
        return self.model(wildcards).parent / self.contracts[wildcards.model].weights

    def classifier_settings(self, wildcards: Any) -> dict[str, Any]:
        """Return what is said of a classifier in the config, without its selection of views."""
        return self.config.classifiers[wildcards.model].model_dump(mode="json", exclude={"select", "model", "plates"})

    def attribute_settings(self, wildcards: Any) -> dict[str, Any]:
        """Return the settings of one method's job: a change reruns that method and no other."""
        entry, settings = self.config.classifiers[wildcards.model], self.config.attribute
        select = (entry.select or settings.select).model_dump()
        return settings.of_method(wildcards.method) | {"select": select, "batch_size": settings.batch_size}

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

    def stores(self, wildcards: Any) -> dict[str, str]:
        """Return the OME-Zarr stores of a classifier's plates: plate -> path."""
        return {plate: str(self.plates[plate].path) for plate in self.config.classifiers[wildcards.model].plates}

    @property
    def models(self) -> list[Path]:
        """The model.yaml of every classifier, in the order of the config."""
        return [entry.model for entry in self.config.classifiers.values()]

    @property
    def all_stores(self) -> dict[str, str]:
        """The OME-Zarr store of every plate: plate -> path."""
        return {name: str(plate.path) for name, plate in self.plates.items()}

    def of_chunks(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every chunk of the rule's plate."""
        return lambda wildcards: [pattern.format(**wildcards, chunk=chunk) for chunk in self.chunks[wildcards.plate]]

    def of_methods(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every method, and for every chunk of the rule's plate if it names one."""
        methods = self.config.attribute.methods

        def fill(wildcards: Any) -> list[str]:
            chunks = [wildcards["chunk"]] if "chunk" in wildcards.keys() else list(self.chunks[wildcards.plate])  # noqa: SIM118
            known = {name: value for name, value in wildcards.items() if name != "chunk"}
            return [pattern.format(**known, method=method, chunk=chunk) for method in methods for chunk in chunks]

        return fill

    def of_plates(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every plate of the rule's classifier, and for every chunk of each.

        A ``{method}`` in it is the first method: all of them explain the same views.
        """
        method = self.config.attribute.methods[0]

        def fill(wildcards: Any) -> list[str]:
            plates = self.config.classifiers[wildcards.model].plates
            pairs = [(plate, chunk) for plate in plates for chunk in self.chunks[plate]]
            return list(
                dict.fromkeys(
                    pattern.format(**wildcards, plate=plate, chunk=chunk, method=method) for plate, chunk in pairs
                )
            )

        return fill

    def everywhere(self, pattern: str) -> list[str]:
        """Return `pattern` filled in for every classifier, plate, method and chunk of the campaign, each path once."""
        paths = [
            pattern.format(campaign=self.name, model=model, plate=plate, method=method, chunk=chunk)
            for model, plate in self.explained_plates
            for method in self.config.attribute.methods
            for chunk in self.chunks[plate]
        ]
        return list(dict.fromkeys(paths))
