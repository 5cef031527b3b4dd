"""The inputs and parameters of the workflow's rules, each a function of Snakemake's wildcards.

Snakemake compares what these functions return with the last run's: a changed value is what makes a job run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcim.campaign import layout
from pcim.plates.vendors import OMEZARR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pcim.campaign.campaign import Campaign


@dataclass(frozen=True)
class RuleInputs:
    """The inputs and parameters of the rules of one campaign."""

    campaign: Campaign

    def _table(self, rule: str, **wildcards: str) -> str:
        """Return the table that another rule writes."""
        return str(layout.table_of(layout.results_of(self.campaign.name), rule, **wildcards))

    def metadata(self, wildcards: Any) -> str:
        """Return the digest of a plate's own metadata: a plate that gained wells is ingested again, a touched one is not."""
        return self.campaign.plans[wildcards.plate].survey.digest

    def conversion(self, wildcards: Any) -> list[str]:
        """Return the table of a plate's conversion, where it is converted."""
        converted = self.campaign.plates[wildcards.plate].source.format != OMEZARR
        return [self._table("convert", plate=wildcards.plate)] * converted

    def input_contract(self, wildcards: Any) -> dict[str, Any]:
        """Return the channels and percentiles that a classifier is fed with."""
        return self.campaign.contracts[wildcards.model].input.model_dump(mode="json", include={"channels", "percentiles"})

    def names(self, wildcards: Any) -> dict[str, list[str]]:
        """Return what a classifier calls its classes and its channels."""
        contract = self.campaign.contracts[wildcards.model]
        return {"classes": list(contract.classes), "channels": list(contract.input.channels)}

    def intensities(self, wildcards: Any) -> list[str]:
        """Return the tables of intensities of the rule's plate, or of all plates of its classifier, where there are any."""
        if self.campaign.contracts[wildcards.model].input.percentiles is None:
            return []
        one = wildcards.get("plate")
        plates = [one] if one else self.campaign.config.classifiers[wildcards.model].plates
        return [self._table("intensities", plate=plate, model=wildcards.model) for plate in plates]

    def crops(self, wildcards: Any) -> dict[str, Any] | None:
        """Return what a classifier's crops are cut around; None where it sees whole fields or tiles."""
        crops = self.campaign.config.classifiers[wildcards.model].crops
        return None if crops is None else crops.model_dump(mode="json")

    def crops_table(self, wildcards: Any) -> list[str]:
        """Return the table of places that a classifier's crops are cut around, where it is a table."""
        crops = self.campaign.config.classifiers[wildcards.model].crops
        return [str(crops.table)] if crops is not None and crops.table is not None else []

    def objects_found(self, wildcards: Any) -> list[str]:
        """Return the table of the objects of the rule's plate, for a classifier that looks at objects."""
        if self.crops(wildcards) is None:
            return []
        return [self._table("objects", plate=wildcards.plate, model=wildcards.model)]

    def export(self, wildcards: Any) -> dict[str, Any]:
        """Return the plain form of a plate's own source, before any conversion."""
        return self.campaign.plates[wildcards.plate].source.to_dict()

    def platemap(self, wildcards: Any) -> Path:
        """Return a plate's plate map."""
        return self.campaign.plates[wildcards.plate].platemap

    def store(self, wildcards: Any) -> dict[str, Any]:
        """Return the plain form of the OME-Zarr plate that jobs read (see `plate_source.Source`)."""
        return self.campaign.sources[wildcards.plate].to_dict()

    def chunk(self, wildcards: Any) -> dict[str, Any]:
        """Return what every job on a chunk is told: where, which wells, and what is let pass (see `chunk_job.ChunkJob`)."""
        return {
            "store": self.store(wildcards),
            "wells": self.campaign.plans[wildcards.plate].chunks[wildcards.chunk],
            "trusted_packages": self.campaign.config.classify.trusted_code,
            "accept": self.campaign.config.ingest.accept,
            "max_failed": self.campaign.config.max_failed,
        }

    def model(self, wildcards: Any) -> Path:
        """Return a classifier's model.yaml."""
        return self.campaign.config.classifiers[wildcards.model].model

    def weights(self, wildcards: Any) -> Path:
        """Return the file with a classifier's weights."""
        return self.model(wildcards).parent / self.campaign.contracts[wildcards.model].weights

    def attribute_settings(self, wildcards: Any) -> dict[str, Any]:
        """Return the settings of one method's job: a change reruns that method and no other."""
        entry, settings = self.campaign.config.classifiers[wildcards.model], self.campaign.config.attribute
        select = (entry.select or settings.select).model_dump()
        shared = {"select": select, "targets": settings.targets, "batch_size": settings.batch_size}
        return settings.of_method(wildcards.method) | shared

    def regions(self, wildcards: Any) -> dict[str, Any]:
        """Return the named regions of a classifier, as in the config."""
        entry = self.campaign.config.classifiers[wildcards.model]
        return {name: region.model_dump() for name, region in entry.regions.items()}

    def objects(self, wildcards: Any) -> str | None:
        """Return the name of the region that holds the biology of a classifier, if it has one."""
        return self.campaign.config.classifiers[wildcards.model].objects

    def halo_px(self, wildcards: Any) -> float:
        """Return how much around its objects travels with them in an exchange, px."""
        return self.campaign.config.classifiers[wildcards.model].halo_px

    def stores(self, wildcards: Any) -> dict[str, dict[str, Any]]:
        """Return the OME-Zarr plates that a classifier's jobs read: plate -> plain form."""
        return {plate: self.campaign.sources[plate].to_dict() for plate in self.campaign.config.classifiers[wildcards.model].plates}

    def read_maps(self, wildcards: Any) -> dict[str, str]:
        """Return the plates of maps of the method that is read: plate -> path."""
        root, model, method = layout.results_of(self.campaign.name), wildcards.model, self.campaign.read_method
        plates = self.campaign.config.classifiers[model].plates
        return {plate: str(layout.maps_of(root, model, plate, method)) for plate in plates}

    def all_stores(self, _: Any) -> dict[str, dict[str, Any]]:
        """Return the OME-Zarr plate of every plate: plate -> plain form."""
        return {name: source.to_dict() for name, source in self.campaign.sources.items()}

    def of_chunks(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every chunk of the rule's plate; a ``{method}`` in it is the one that is read."""
        return lambda wildcards: [
            pattern.format(**{"method": self.campaign.read_method, **wildcards}, chunk=chunk)
            for chunk in self.campaign.plans[wildcards.plate].chunks
        ]

    def of_methods(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every method, and for every chunk of the rule's plate if it names one."""
        methods = self.campaign.config.attribute.methods

        def fill(wildcards: Any) -> list[str]:
            one = wildcards.get("chunk")
            chunks = [one] if one else list(self.campaign.plans[wildcards.plate].chunks)
            known = {name: value for name, value in wildcards.items() if name != "chunk"}
            return [pattern.format(**known, method=method, chunk=chunk) for method in methods for chunk in chunks]

        return fill

    def of_plates(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every plate of the rule's classifier, and for every chunk of each.

        A ``{method}`` in it is the method that is read: all of them explain the same views.
        """

        def fill(wildcards: Any) -> list[str]:
            known = {"method": self.campaign.read_method, **wildcards}
            plates = self.campaign.config.classifiers[wildcards.model].plates
            pairs = [(plate, chunk) for plate in plates for chunk in self.campaign.plans[plate].chunks]
            return list(dict.fromkeys(pattern.format(**known, plate=plate, chunk=chunk) for plate, chunk in pairs))

        return fill

    def of_pairs(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every pair of classifiers that see the same views of a plate."""
        return lambda wildcards: [
            pattern.format(**wildcards, model=one, plate=plate, other=other) for one, plate, other in self.campaign.pairs
        ]

    def everywhere(self, pattern: str) -> Callable[[Any], list[str]]:
        """Return an input function: `pattern` for every classifier, plate, method and chunk of the campaign, each path once."""

        def fill(wildcards: Any) -> list[str]:
            paths = [
                pattern.format(**wildcards, model=model, plate=plate, method=method, chunk=chunk)
                for model, plate in self.campaign.explained_plates
                for method in self.campaign.config.attribute.methods
                for chunk in self.campaign.plans[plate].chunks
            ]
            return list(dict.fromkeys(paths))

        return fill
