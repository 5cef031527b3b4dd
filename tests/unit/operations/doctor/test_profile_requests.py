"""What a profile asks for is worked out as Snakemake does, and nothing that it says is ever run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pcim.operations.doctor.profile_requests import evaluate, read_profile, rules_of

ROOT = Path(__file__).parents[4]
RULES = rules_of(ROOT / "workflow/rules")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (60, 60),
        ("60", 60),
        ("16000 * attempt", 16000),
        ("240*attempt + 10 // 3", 243),
        ("max(4000, 100 * attempt)", 4000),
        ("min(1440, 240 * (attempt - 1))", 0),
        ("-1 * -attempt", 1),
    ],
)
def test_arithmetic_is_worked_out(value: object, expected: float) -> None:
    assert evaluate(value) == expected


def test_a_later_attempt_gets_more() -> None:
    assert evaluate("16000 * attempt", attempt=3) == 48000


@pytest.mark.parametrize(
    "value",
    [
        "__import__('os').system('touch pwned')",
        "attempt.__class__",
        "(lambda: 1)()",
        "[1][0]",
        "2 ** 9 ** 9",
        "open('pwned', 'w')",
        "max",
        "max(*[1])",
        "max(1, key=attempt)",
        "input.size_mb * 2",
        "1 // 0",
        "'a' * 3",
        "True",
        True,
        None,
        [1],
        "1 if attempt else 2",
        "4h",
        "",
        "((" * 4000,
    ],
)
def test_all_else_is_not_checked_and_not_run(value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate(value) is None
    assert not list(tmp_path.iterdir())


def test_the_rules_own_resources_are_read() -> None:
    assert RULES["attribute"] == {"mem_mb": 8000, "runtime": 240, "gpu": 0}
    assert {"ingest", "convert", "classify", "evaluate", "interventions", "compare", "report"} <= RULES.keys()


@pytest.mark.parametrize("form", ["mapping", "list"])
def test_a_profile_says_more_than_the_rules_and_defaults_less(form: str, tmp_path: Path) -> None:
    told = {
        "executor": "slurm",
        "default-resources": {"slurm_partition": "cpu", "slurm_account": "lab", "runtime": 5, "mem_mb": 1},
        "set-resources": {"attribute": {"gpu": 1, "slurm_partition": "gpu", "mem_mb": "16000 * attempt"}, "evaluate": {"gres": "gpu:1",
        "runtime": "input.size", "slurm_extra": "'--nice=3'"}, "report": {"slurm_extra": "--comment='open"}},
    }  # fmt: skip
    if form == "list":
        told["default-resources"] = [f"{name}={value}" for name, value in told["default-resources"].items()]
        told["set-resources"] = [f"{r}:{n}={v}" for r, of in told["set-resources"].items() for n, v in of.items()]
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(told))
    requests = read_profile(str(tmp_path), RULES).requests
    attribute, evaluation, ingest = (requests[name] for name in ("attribute", "evaluate", "ingest"))
    assert (attribute.partition, attribute.account, attribute.gpus) == ("gpu", "lab", 1)
    assert (attribute.mem_mb, attribute.runtime) == (16000, 240)
    assert attribute.wants_gpu
    assert evaluation.wants_gpu
    assert evaluation.unknown == ("runtime",)
    assert evaluation.extra == ("--nice=3",)
    assert requests["report"].unknown == ("slurm_extra",)
    assert (ingest.partition, ingest.mem_mb, ingest.runtime) == ("cpu", 4000, 60)
    assert not ingest.wants_gpu


def test_the_profile_of_the_clone_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = read_profile("slurm", RULES)
    assert found.requests["attribute"].wants_gpu
    assert not [request.unknown for request in found.requests.values() if request.unknown]


def test_what_is_no_profile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="'nowhere': not found"):
        read_profile("nowhere", RULES)
    for text, told in (("- 1", "expected keys"), ("a: [", "profile.yaml"), ("__use_yte__: true\n", "a template")):
        (tmp_path / "profile.yaml").write_text(text)
        with pytest.raises(ValueError, match=told):
            read_profile(str(tmp_path), RULES)
