"""Settings of `classify`: how views are called, and whose code may be run for it."""

from __future__ import annotations

from pydantic import Field

from pcim.config.base import Digest, Name, Settings


class ClassifySettings(Settings):
    """The frozen classifier over every view."""

    batch_size: int = Field(32, ge=1, description="Views a forward pass; the last batch is padded to it.")
    trusted_packages: list[Name] = Field(
        ["pcim"], description="Python packages that a model.yaml may name as `architecture`: their code is run."
    )
    trusted_programs: list[Digest] = Field(
        [],
        description="SHA-256 of the TorchScript and torch.export files that a model.yaml may name as `weights`: loading them runs code that they hold.",
    )

    @property
    def trusted(self) -> list[str]:
        """What code of classifiers may be run: packages by name, files by digest."""
        return [*self.trusted_packages, *self.trusted_programs]
