"""The campaign's page as HTML and, of a campaign of many plates, a page a plate.

Every text from a table or file is escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd
import yaml

from pcim.campaign.job_list import rerun_command, rescan_command
from pcim.config.methods import CONTROLS
from pcim.core.identity import KEY_COLUMNS
from pcim.report.analysis.review import ACCEPTABLE, acceptable, failures
from pcim.report.number_format import interval, method_name, number, percent
from pcim.report.page.charts import theme
from pcim.report.page.figures import javascript
from pcim.report.page.plate_page import PlatePage
from pcim.runtime.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pcim.config.config import Config
    from pcim.report.inputs import ReportInputs
    from pcim.report.page.classifier_page import ClassifierPage


@dataclass
class Pages:
    """The pages of a campaign."""

    settings: Config
    classifiers: Sequence[ClassifierPage]
    inputs: ReportInputs

    @property
    def is_split(self) -> bool:
        """Whether every plate has a page of its own."""
        return self.inputs.field_table["plate"].nunique() > self.settings.report.plates_on_page

    @cached_property
    def failures(self) -> pd.DataFrame:
        """The fields that are not used, and the views on which a stage failed, of all classifiers."""
        nothing = pd.DataFrame(columns=["status", *KEY_COLUMNS])
        of_fields = failures(self.inputs.field_table, nothing, self.settings.ingest.accept)
        of_stages = [found[found["stage"] != "ingest"] for found in (shown.failures for shown in self.classifiers)]
        return pd.concat([of_fields, *of_stages], ignore_index=True)

    def index(self, folder: Path) -> str:
        """Return the campaign's page, which lies in `folder`."""
        fields, methods = self.inputs.field_table, self.settings.attribute.methods
        return self._render(
            "index.html.j2",
            title=self.settings.report.title,
            plates=self.of_plates(folder),
            counts={
                "plates": fields["plate"].nunique(),
                "wells": len(fields.drop_duplicates(["plate", "well"])),
                "fields": len(fields),
                "views": sum(len(shown.views) for shown in self.classifiers),
                "explained": sum(shown.explained_count for shown in self.classifiers),
            },
            methods=[method_name(method) for method in methods if method not in CONTROLS],
            controls=[method_name(method) for method in methods if method in CONTROLS],
            **describe_failures(self.failures, self.inputs.run.command),
            thresholds=[
                (name, getattr(group, name), field.description)
                for group in (self.settings.report.reading, self.settings.report.doubt)
                for name, field in type(group).model_fields.items()
            ],
            maps_root=(self.inputs.root / "maps").as_posix(),
            config_text=yaml.safe_dump(self.settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        )

    def plates(self, folder: Path) -> dict[Path, str]:
        """Return the plates' own pages below `folder`, path -> HTML; none where they are on the campaign's page."""
        if not self.is_split:
            return {}
        pages = {}
        for plate, parts in self.of_plates(folder).items():
            failed = self.failures[self.failures["plate"] == plate]
            pages[folder / f"{plate}.html"] = self._render(
                "plate_page.html.j2", title=f"Plate {plate}", plate=plate, parts=parts, **describe_failures(failed,
                self.inputs.run.command),
            )  # fmt: skip
        return pages

    def of_plates(self, folder: Path) -> dict[str, list[PlatePage]]:
        """Return plate -> its part of the page for each classifier that saw it."""
        return {
            str(plate): [
                PlatePage(shown, str(plate), shown.album, folder, listed=self.settings.report.listed_views)
                for shown in self.classifiers
                if plate in shown.evidence.settings.plates
            ]
            for plate in self.inputs.field_table["plate"].unique()
        }

    def _render(self, template: str, **shown: Any) -> str:
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("pcim.report.page", "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        environment.filters |= {"percent": percent, "number": number}
        environment.globals |= {
            "interval": interval,
            "javascript": javascript,
            "themes": {name: theme(dark=name == "dark") for name in ("light", "dark")},
        }
        return environment.get_template(template).render(
            settings=self.settings, pages=self.classifiers, is_split=self.is_split, revisions=self.inputs.run.revisions,
            software=self.inputs.run.software, **shown,
        )  # fmt: skip


def describe_failures(failed: pd.DataFrame, command: str) -> dict[str, Any]:
    """Return what a page shows of failures, and what to do about each kind of them; `command` starts the campaign.

    `rerun` is the command that tries exactly the jobs with a failed view again; `rescan` takes up fields whose pixels could not be used
    and were mended. Either is "" where it cannot help.
    """
    jobs = {str(job) for job in failed.loc[failed["status"] == "failed", "job"].dropna() if job}
    unread = failed[(failed["stage"] == "ingest") & ~failed["status"].isin(ACCEPTABLE)]
    return {
        "failures": rows_of(failed.fillna("")),
        "rerun": rerun_command(command, jobs) if jobs else "",
        "rescan": rescan_command(command, unread["plate"]),
        "start": command,
        "acceptable": acceptable(failed),
    }
