"""Settings of the report: the thresholds at which a number becomes a word, each with its reason."""

from __future__ import annotations

from pydantic import Field

from pcim.config.base import Settings


class ReadingSettings(Settings):
    """Where a number becomes a word."""

    decides: float = Field(
        0.2, ge=0, le=1,
        description="A region decides when the lower end of (calls that follow its exchange - calls that follow the control "
        "patch) is above this: a fifth of the calls is more than a handful of borderline images.",
    )  # fmt: skip
    decides_alone: float = Field(
        0.5, ge=0, le=1,
        description="The same for a region that leaves no room for a control patch: most calls must follow, because a large "
        "exchange disturbs an image whatever is in it.",
    )  # fmt: skip
    least_wells: int = Field(4, ge=2, description="With fewer wells in the exchanges nothing is decided: intervals mean little.")
    few_wells: int = Field(20, ge=2, description="Below this many wells the words say that n is small.")
    one_sided: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Directions of an exchange (dead to live, live to dead) are told apart in words from this difference on.",
    )
    fragile: float = Field(
        0.5, ge=0, le=1,
        description="A class is fragile when a view of which no pixel is kept is given it with at least this median probability: the "
        "evidence is an absence, or is still in the background, and no map can show it.",
    )  # fmt: skip
    given_away: float = Field(
        0.7, ge=0, le=1,
        description="The place on the plate gives the class away when the lower end of the share of wells that it tells is above this, "
        "and above the commonest class's: then accuracy is no evidence.",
    )  # fmt: skip
    worth: float = Field(
        0.05, ge=0, le=1,
        description="A method's maps are to be believed only where their order of the pixels is worth at least so much of the class's "
                    "probability "
        "with every substitute that no method has seen: less is nothing that an eye should read.",
    )  # fmt: skip


class DoubtSettings(Settings):
    """From where on an image is named among those to look at first."""

    undecided: float = Field(
        0.6, ge=0, le=1, description="A call with a lower probability is undecided: the classifier itself is in doubt."
    )
    unfaithful: float = Field(
        0.0, ge=-1, le=1,
        description="A map is in doubt when its order of the pixels is worth no more than this, in probability of the class: 0 is what an "
        "order by chance is worth.",
    )  # fmt: skip
    disagreement: float = Field(
        0.1, ge=-1, le=1,
        description="Methods disagree on a view when the mean rank correlation of the other methods' maps with the first method's is below "
        "this: unrelated maps have 0.",
    )  # fmt: skip
    not_converged: float = Field(
        0.5, ge=0, le=1,
        description="A map is not converged when the step limit came while the class had less than this probability on what is kept, or "
        "more on what is dropped: the blend does not part what counts from what does not.",
    )  # fmt: skip


class ReportSettings(Settings):
    """The page."""

    title: str = Field("What the classifiers look at", max_length=120, description="Title of the report.")
    panels: int = Field(4, ge=1, le=40, description="Example views shown a classifier.")
    doubtful: int = Field(4, ge=0, le=40, description="Views in doubt shown a classifier, those most in doubt first.")
    plates_on_page: int = Field(4, ge=0, description="A campaign of more plates gets a page a plate; the first page then lists them.")
    listed_views: int = Field(
        20_000,
        ge=1,
        description="Most explained views listed a plate and classifier, those most in doubt first.",
    )
    draws: int = Field(10_000, ge=100, description="Bootstrap draws of the intervals (resampled by well).")
    reading: ReadingSettings = Field(ReadingSettings(), description="Where a number becomes a word.")
    doubt: DoubtSettings = Field(DoubtSettings(), description="Which images are named as doubtful.")
