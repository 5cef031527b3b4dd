"""Check that config, plate maps, contracts and plates fit together. Each fault names its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcim.campaign.input_tables import SPLITS, PlateEntry, lines_with, read_model, read_plates
from pcim.classifiers.contract import PROGRAMS
from pcim.config.base import CALL
from pcim.config.config import Config
from pcim.config.fault_messages import absent, nearest, parse
from pcim.config.methods import METHODS, NEEDS
from pcim.core.identity import well_order
from pcim.plates.inventory import Survey, survey_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcim.classifiers.contract import Contract
    from pcim.config.classifier import ClassifierSettings
    from pcim.config.yaml_lines import YamlSource


@dataclass(frozen=True)
class CampaignInputs:
    """What a campaign is made of, as it was read; a classifier whose contract has faults has none."""

    config: Config
    written: YamlSource
    plates: Mapping[str, PlateEntry]
    contracts: Mapping[str, Contract | None]

    @classmethod
    def read(cls, written: YamlSource, faults: list[str], *, platemaps: bool = True) -> CampaignInputs | None:
        """Read all that a config names but the plates themselves; None where it says too little for that."""
        config, found = parse(Config, written)
        faults.extend(found)
        if config is None:
            return None
        plates = read_plates(config.plates, faults, platemaps=platemaps)
        contracts = {
            name: read_model(entry, written.at("classifiers", name, "model"), faults) for name, entry in config.classifiers.items()
        }
        return cls(config, written, plates, contracts)

    def of_classifiers(self) -> Iterator[str]:
        """Yield the faults between each classifier's settings, its contract, the table of plates and the plate maps."""
        for name, entry in self.config.classifiers.items():
            where = self.written.at("classifiers", name, "plates")
            for plate in entry.plates:
                if plate not in self.plates:
                    yield f"{where}: {plate!r} is not in {self.config.plates}{nearest(plate, list(self.plates))}"
            yield from self._of_crops(name, entry)
            yield from self._of_columns(name, entry)
            yield from self._of_controls(name, entry)
            yield from self._of_classes(name, entry)
            yield from self._of_words(name, "split", entry.split, SPLITS, f"none of {', '.join(SPLITS)} and not empty", entry)
            yield from self.of_code(name)
            yield from self._of_methods(name)

    def _of_crops(self, name: str, entry: ClassifierSettings) -> Iterator[str]:
        contract, crops = self.contracts[name], entry.crops
        if contract and (contract.input.view == "object") != (crops is not None):
            where = self.written.at("classifiers", name, "crops")
            yield f"{where}: given if, and only if, the contract says view: object; it says {contract.input.view}"
        if crops is not None and crops.table is not None and not crops.table.is_file():
            yield f"{self.written.at('classifiers', name, 'crops', 'table')}: {crops.table}: {absent(crops.table)}"

    def _plates_with_maps(self, entry: ClassifierSettings) -> Iterator[PlateEntry]:
        """Yield the classifier's plates whose plate map was read."""
        return (self.plates[plate] for plate in entry.plates if plate in self.plates and self.plates[plate].wells)

    def _of_columns(self, name: str, entry: ClassifierSettings) -> Iterator[str]:
        """Yield the columns that are named and not there."""
        own = ("classifiers", name)
        place = (*own, "select") if entry.select else ("attribute", "select")
        named = {(*own, "truth"): entry.truth, (*own, "split"): entry.split}
        named |= {(*place, "where", c): c for c in (entry.select or self.config.attribute.select).where}
        for plate in self._plates_with_maps(entry):
            columns = list(next(iter(plate.wells.values())))
            for keys, column in named.items():
                if column is not None and column not in columns:
                    told = f"column {column!r} is not in {plate.platemap}{nearest(column, columns)}"
                    yield f"{self.written.at(*keys)}: {told}; allowed: {', '.join(columns)}"

    def _of_controls(self, name: str, entry: ClassifierSettings) -> Iterator[str]:
        contract = self.contracts[name]
        if not (contract and contract.input.percentiles and contract.input.percentiles.over == "negcon"):
            return
        for plate in self._plates_with_maps(entry):
            if not any(row["control_type"] == "negcon" for row in plate.wells.values()):
                told = f"percentiles over negcon, but {plate.platemap} has no well with control_type negcon"
                yield f"{self.written.at('classifiers', name)}: {told}"

    def _of_classes(self, name: str, entry: ClassifierSettings) -> Iterator[str]:
        """Yield the true classes and the targets that the classifier does not know."""
        contract = self.contracts[name]
        if contract is None:
            return
        words = f"no class of {contract.classes}"
        yield from self._of_words(name, "truth", entry.truth, contract.classes, words, entry)
        allowed = [CALL, *contract.classes]
        for target in self.config.attribute.targets:
            if target not in allowed:
                told = f"{target!r}{nearest(target, allowed)}: expected one of {allowed} (classifiers.{name})"
                yield f"{self.written.at('attribute', 'targets')}: {told}"

    def _of_words(  # noqa: PLR0913, PLR0917 - a column, and what it may say
        self, name: str, key: str, column: str | None, allowed: Sequence[str], words: str, entry: ClassifierSettings
    ) -> Iterator[str]:
        """Yield the values of a column of the plate maps, if one is named, that are not allowed, each once a file."""
        if column is None:
            return
        for file, wells in {plate.platemap: plate.wells for plate in self._plates_with_maps(entry)}.items():
            for value in sorted({row.get(column, "") for row in wells.values()} - {"", *allowed}):
                (line, well), *others = lines_with(file, column, value)
                more = f" and {len(others)} more" * bool(others)
                told = f"{value!r} in {file}:{line}, {well}{more}, is {words}"
                yield f"{self.written.at('classifiers', name, key)}: {told}{nearest(value, allowed)}"

    def of_code(self, name: str) -> Iterator[str]:
        """Yield what of the classifier's code would be run and is not trusted."""
        contract, trusted = self.contracts[name], self.config.classify
        if contract is None:
            return
        package = contract.package
        if package and package not in trusted.trusted_packages:
            where = self.written.at("classify", "trusted_packages")
            yield f"{where}: {package!r}, whose code makes classifiers.{name}, is not in {trusted.trusted_packages}"
        if contract.format in PROGRAMS and contract.sha256 not in trusted.trusted_programs:
            where = self.written.at("classify", "trusted_programs")
            told = f"loading a file of format {contract.format} runs its code; to trust that of classifiers.{name}, add"
            yield f"{where}: {told} {contract.sha256}"

    def _of_methods(self, name: str) -> Iterator[str]:
        """Yield the methods that ask for what the classifier does not offer."""
        contract, methods = self.contracts[name], self.config.attribute.methods
        if contract and (asked := [method for method in methods if NEEDS[method] not in contract.offers]):
            left = [method for method in METHODS if NEEDS[method] in contract.offers]
            needed = ", ".join(f"{method} needs {NEEDS[method]}" for method in asked)
            what = f"format: {contract.format}, differentiable: {str(contract.differentiable).lower()}"
            where = self.written.at("attribute", "methods")
            yield f"{where}: {needed}, which classifiers.{name} does not show ({what}); allowed: {', '.join(left)}"

    def of_plate(self, plate: PlateEntry, survey: Survey) -> Iterator[str]:
        """Yield where a plate's metadata is not what its plate map and the classifiers that will see it expect."""
        for words, wells in (
            ("lacks wells of the plate", survey.wells.keys() - plate.wells.keys()),
            ("names wells that the plate has not", plate.wells.keys() - survey.wells.keys()),
        ):
            if plate.wells and wells:
                yield f"plate {plate.plate!r}: {plate.platemap} {words}: {', '.join(sorted(wells, key=well_order))}"
        for name, entry in self.config.classifiers.items():
            if (contract := self.contracts[name]) is not None and plate.plate in entry.plates:
                yield from self._of_channels(name, contract, plate, survey)
                yield from self._of_labels(name, entry, plate, survey)

    def _of_channels(self, name: str, contract: Contract, plate: PlateEntry, survey: Survey) -> Iterator[str]:
        where, channels, wanted = f"classifiers.{name}", list(survey.channels), contract.input.channels
        if lacking := [channel for channel in wanted if channel not in channels]:
            near = nearest(lacking[0], channels)
            yield f"{where}: channels {lacking} are not on plate {plate.plate!r}, which has {channels}{near}"
        if twice := [channel for channel in wanted if channels.count(channel) > 1]:
            yield f"{where}: plate {plate.plate!r} has several channels called {twice}: {channels}"
        misfit = contract.input.misfit(survey.shape, survey.dtype, survey.pixel_size_um)
        others = survey_elsewhere(plate.source, survey) if misfit else ()  # one odd field is a row with a reason
        if misfit and all(contract.input.misfit(o.shape, o.dtype, o.pixel_size_um) for o in others):
            yield f"{where}: plate {plate.plate!r}: {misfit}"

    def _of_labels(self, name: str, entry: ClassifierSettings, plate: PlateEntry, survey: Survey) -> Iterator[str]:
        named: dict[tuple[str, ...], str | None] = {
            ("regions", region, kind): label
            for region, of in entry.regions.items()
            for kind, label in (("label", of.label), ("boundary_of", of.boundary_of))
        }
        named["crops", "label"] = entry.crops.label if entry.crops else None
        for keys, label in named.items():
            if label is not None and label not in survey.labels:
                there = f"which has {list(survey.labels)}{nearest(label, survey.labels)}"
                yield f"{self.written.at('classifiers', name, *keys)}: label {label!r} is not on plate {plate.plate!r}, {there}"
