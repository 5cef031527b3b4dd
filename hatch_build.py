"""The wheel carries the workflow inside the package (`pcim.core.workflow_files` finds it); an editable install uses that of the clone."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WORKFLOW = ("Snakefile", "workflow", "config", "envs", "profiles", "requirements/run.txt")


class WorkflowHook(BuildHookInterface):
    """Adds the workflow to a wheel, laid out as in the clone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files, but for an editable wheel."""
        if version == "standard":
            build_data["force_include"] |= {name: f"pcim/_workflow/{name}" for name in WORKFLOW}
