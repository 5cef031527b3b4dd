"""The doctor names what will stop a campaign here, and what to do; SLURM is played by scripts on PATH."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from planted_campaign import write_campaign
from typer.testing import CliRunner

from pcim.cli.main import app
from pcim.operations.doctor import machine, trial_jobs
from pcim.operations.doctor.doctor import examine
from pcim.operations.doctor.machine import Check, Mount, check_shared, mount_of, mounts, quota_left
from pcim.operations.doctor.node_probe import look_around
from pcim.operations.doctor.profile_requests import Request
from pcim.operations.doctor.slurm_checks import minutes
from pcim.operations.doctor.trial_jobs import Trial, judge

ROOT = Path(__file__).parents[4]
SINFO = "cpu*|up|1-00:00:00|8000+|(null)\ncpu*|up|1-00:00:00|16000|(null)\ngpu|up|12:00:00|64000|gpu:h200:2(S:0-1)"
RUN_NOW = """#!/bin/sh
for word; do case "$word" in --output=*) log="${word#--output=}";; esac; done
echo "$@" >> "{calls}"
while [ "${1#--}" != "$1" ]; do shift; done
sh "$@" > "$log" 2>&1
echo "17;cluster"
"""


class Cluster:
    """A SLURM of scripts: each says what it is told to say."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.calls = folder / "bin", folder / "calls.txt"
        self.bin.mkdir()
        self.says("sinfo", SINFO)
        self.says("scontrol", "Slurmctld(primary) at head is UP")
        self.says("sacctmgr", "lab|normal,high\\nother|normal")
        self.says("squeue", "")
        self.says("scancel", "")
        self.script("sbatch", RUN_NOW.replace("{calls}", str(self.calls)))

    def says(self, name: str, text: str, code: int = 0) -> None:
        self.script(name, f"#!/bin/sh\necho \"{name} $@\" >> '{self.calls}'\nprintf '{text}\\n'\nexit {code}\n")

    def script(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)


def test_places_that_everyone_may_write_are_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model.yaml").touch()
    places = {"results": tmp_path, "classifier a": tmp_path / "models/model.yaml"}
    (found,) = machine.check_writers(places)
    assert found.state == "ok"
    (tmp_path / "models").chmod(0o777)
    (found,) = machine.check_writers(places)
    assert (found.state, found.found) == ("warning", f"classifier a ({tmp_path / 'models'})")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_campaign(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def config(inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial_jobs, "POLL_S", 0.02)
    monkeypatch.setattr(machine, "check_python", lambda clone: iter(()))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests/helpers")]))
    inputs = inputs | {"attribute": {"methods": ["random", "edge"], "batch_size": 2}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(inputs))
    return tmp_path / "config.yaml"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(made.bin), "/usr/bin", "/bin"]))
    return made


def profile(folder: Path, **attribute: Any) -> str:
    told = {
        "executor": "slurm",
        "default-resources": {"slurm_account": "lab", "mem_mb": 1000},
        "set-resources": {"attribute": {"slurm_partition": "cpu", "mem_mb": "4000 * attempt", "runtime": 60} | attribute},
    }
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site/profile.yaml").write_text(yaml.safe_dump(told))
    return str(folder / "site")


def of(found: list[Check], state: str) -> dict[str, str]:
    return {check.name: check.found for check in found if check.state == state}


def test_a_sound_machine_has_no_fault_and_nothing_is_left_behind(config: Path) -> None:
    found = list(examine([config], "", with_jobs=True))
    assert of(found, "failed") == of(found, "warning") == {}
    assert {"config", "results", "space"} <= of(found, "ok").keys()
    assert not (config.parent / "results").exists()


def test_every_fault_of_the_config_is_a_line(config: Path) -> None:
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(values | {"atribute": {}, "wells_per_chunk": 0}))
    result = CliRunner().invoke(app, ["doctor", "--configfile", str(config)])
    assert result.exit_code == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("failed  config: ")]
    assert len(lines) == 2
    assert "did you mean 'attribute'?" in result.stdout


def test_packages_are_compared_with_the_lock(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/run.txt").write_text("# lock\nnumpy==0.1\npyyaml==6.0.3\nnot-a-package==1\n")
    found = list(machine.check_python(tmp_path))
    assert "not-a-package" in of(found, "failed")["packages"]
    assert "(tested: 0.1)" in of(found, "warning")["packages"]
    assert "pyyaml" not in str(found).lower().replace("run.txt", "")


def test_results_that_cannot_be_written_are_told(config: Path) -> None:
    (config.parent / "results").write_text("a file in the way")
    assert "results" in of(list(machine.check_results("planted")), "failed")


def test_too_little_space_is_told_before_it_is_used_up(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    assert "free: 0.0 GB" in of(list(examine([config], "", with_jobs=False)), "failed")["space"]


def test_a_quota_is_read_where_one_is_told(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Mount("server:/home", str(tmp_path), "nfs4", ())
    monkeypatch.setattr(machine, "mounts", lambda: [home])
    cluster.says("quota", "Disk quotas for user x (uid 7):\\n  Filesystem blocks quota limit grace files quota limit grace\\n"
                          "server:/home 3000000* 2000000 4000000 0 900 1000 2000 0")  # fmt: skip
    assert quota_left(tmp_path) == (pytest.approx(1.024), 1100)
    cluster.says("quota", "server:/home 3000000 0 0 0 900 0 0 0")
    assert quota_left(tmp_path) == (None, None)
    monkeypatch.setattr(machine, "mounts", lambda: [Mount("mds@tcp:/fs", str(tmp_path), "lustre", ())])
    cluster.says("lfs", f"{tmp_path}\\n   1000000 2000000 2000000 - 10 0 0 -")
    assert quota_left(tmp_path) == (pytest.approx(1.024), None)


def test_file_systems_of_one_machine_are_warned_of(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text(
        "overlay / overlay rw 0 0\nserver:/home /home nfs4 rw 0 0\ntmpfs /home/me/fast\\040disk tmpfs rw 0 0\n"
        "mds:/l /lustre lustre rw,flock 0 0\nmds:/m /noflock lustre rw 0 0\n/dev/sda /data ext4 rw 0 0\nbroken\n"
    )
    known = mounts(table)
    assert mount_of(Path("/home/me/fast disk/x"), known).kind == "tmpfs"
    assert mount_of(Path("/homely"), known).kind == "overlay"

    def state(path: str, name: str = "results") -> str:
        (check,) = check_shared({name: Path(path)}, known)
        return check.state

    assert state("/home/me") == state("/lustre/x") == state("/noflock/x", "plate p") == "ok"
    assert state("/noflock/x") == "failed"
    assert state("/opt") == state("/data/x") == state("/home/me/fast disk") == state("/tmp/x") == "warning"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("infinite", float("inf")),
        ("1-00:00:00", 1440),
        ("12:00:00", 720),
        ("30:00", 30),
        ("30", 30),
        ("2-12", 3600),
        ("n/a", float("inf")),
    ],
)
def test_slurms_times_are_read(text: str, expected: float) -> None:
    assert minutes(text) == expected


def test_without_slurm_the_commands_that_lack_are_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = of(list(examine([config], profile(config.parent), with_jobs=True)), "failed")
    assert found["SLURM"] == "not on PATH: sbatch, squeue, scancel, sinfo, scontrol"


def test_a_controller_that_is_down_is_told(config: Path, cluster: Cluster) -> None:
    cluster.says("scontrol", "Slurmctld(primary) at head is DOWN", code=1)
    found = of(list(examine([config], profile(config.parent), with_jobs=True)), "failed")
    assert "is DOWN" in found["SLURM"]


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        (
            {"slurm_partition": "gpus"},
            "'gpus' (did you mean 'gpu'?): no such partition (for attribute); there are cpu, gpu",
        ),
        (
            {"runtime": "800 * attempt", "slurm_partition": "gpu"},
            "attribute asks for 800 min (runtime), allowed are 720",
        ),
        ({"mem_mb": 99000}, "attribute asks for 99000 MB (mem_mb), its largest node has 16000"),
        ({"gpu": 1}, "attribute asks for a GPU, and no node of it has one (gres: none)"),
        ({"gres": "gpu:1"}, "attribute asks for a GPU, and no node of it has one (gres: none)"),
        ({"slurm_account": "labb"}, "labb (did you mean 'lab'?): not yours; yours: lab, other"),
        ({"qos": "fast"}, "fast: not yours; yours: high, normal"),
    ],
)
def test_what_the_cluster_has_not_is_told(config: Path, cluster: Cluster, attribute: dict[str, Any], told: str) -> None:
    found = list(examine([config], profile(config.parent, **attribute), with_jobs=False))
    assert told in of(found, "failed").values()
    assert len(of(found, "failed")) == 1
    assert all(check.cure for check in found if check.state == "failed")
    assert "sbatch" not in cluster.calls.read_text()


def test_a_profile_that_fits_has_no_fault(config: Path, cluster: Cluster) -> None:
    found = list(examine([config], profile(config.parent, slurm_partition="gpu", gpu=1, qos="high"), with_jobs=False))
    assert of(found, "failed") == {}
    ok = of(found, "ok")
    assert "attribute" in ok["partition gpu"]
    assert "ingest" in ok["partition cpu"], "what names no partition goes to the default"
    assert ok["account"] == "lab"


def test_without_accounting_accounts_are_not_checked(config: Path, cluster: Cluster) -> None:
    cluster.says("sacctmgr", "Connection refused", code=1)
    found = list(examine([config], profile(config.parent), with_jobs=False))
    assert "accounting does not answer" in of(found, "skipped")["account"]


def test_a_test_job_looks_around_measures_and_leaves_nothing(config: Path, cluster: Cluster) -> None:
    found = list(examine([config], profile(config.parent, slurm_extra="--comment='a b'"), with_jobs=True, timeout_s=60))
    assert of(found, "failed") == {}
    assert "sees clone, environment, plates and classifiers" in of(found, "ok")["test job cpu"]
    (speed,) = [check for check in found if check.name == "test job cpu: speed"]
    assert "spots on the CPU, s a map: random" in speed.found
    assert speed.cure.startswith("budget: {seconds_per_view: ")
    (call,) = [line for line in cluster.calls.read_text().splitlines() if line.startswith("--parsable")]
    asked = (
        "--partition=cpu",
        "--account=lab",
        "--mem=4000",
        "--time=5",
        "--comment=a b",
        f"{sys.executable} -m pcim.operations.doctor.node_probe",
    )
    assert all(words in call for words in asked)
    assert not list((config.parent / "results/planted").iterdir())


def test_what_a_node_does_not_see_is_named(tmp_path: Path) -> None:
    told = {
        "host": "node7",
        "unseen": {"plate p": "/data/p"},
        "write": "Read-only file system",
        "is_lock_kept": False,
        "gpu": "",
        "torch": "",
    }
    found = of(list(judge("test job", Trial("cpu", Request("ingest"), tmp_path, {}), told)), "failed")
    assert found == {"test job": "node node7 got a lock that this machine holds"}  # the last of three
    every = [check.found for check in judge("test job", Trial("cpu", Request("ingest"), tmp_path, {}), told)]
    assert every[0] == "node node7 does not see: plate p (/data/p)"
    assert every[1] == "node node7 cannot write results: Read-only file system"


def test_the_probe_tells_a_lock_that_is_not_kept_and_a_place_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    asked = {
        "folder": str(tmp_path), "answer": str(tmp_path / "a.json"), "places": {"plate": str(tmp_path / "no"), "results": str(tmp_path)},
        "gpus": 0, "is_to_measure": False,
    }  # fmt: skip
    told = look_around(asked)
    assert told["unseen"] == {"plate": str(tmp_path / "no")}
    assert not told["is_lock_kept"]


def test_a_job_that_stays_in_the_queue_is_cancelled_and_told(config: Path, cluster: Cluster) -> None:
    cluster.says("sbatch", "17")
    cluster.says("squeue", "PENDING Resources")
    found = list(examine([config], profile(config.parent), with_jobs=True, timeout_s=0.1))
    assert "PENDING Resources" in of(found, "warning")["test job cpu"]
    assert "scancel 17" in cluster.calls.read_text()


def test_a_job_that_dies_is_told_with_the_last_words_of_its_log(config: Path, cluster: Cluster) -> None:
    text = (cluster.bin / "sbatch").read_text()
    cluster.script("sbatch", text.replace('sh "$@" > "$log" 2>&1', 'echo "no such Python" > "$log"'))
    found = list(examine([config], profile(config.parent), with_jobs=True, timeout_s=30))
    assert "no such Python" in of(found, "failed")["test job cpu"]


def test_a_refused_job_is_told_in_sbatchs_words(config: Path, cluster: Cluster) -> None:
    cluster.says("sbatch", "sbatch: error: Invalid account", code=1)
    found = list(examine([config], profile(config.parent), with_jobs=True, timeout_s=30))
    assert "Invalid account" in of(found, "failed")["test job cpu"]


def test_a_gpu_that_a_job_was_given_and_does_not_see_is_a_fault(config: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = list(examine([config], profile(config.parent, slurm_partition="gpu", gpu=1), with_jobs=True, timeout_s=60))
    assert "torch sees no GPU" in of(found, "failed")["test job gpu: GPU"]
    assert "--gpus=1" in cluster.calls.read_text()


def test_json_holds_every_check(config: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--configfile", str(config), "--json"])
    told = json.loads(result.stdout)
    assert told["form"] == 1
    assert told["is_fit"]
    assert {"name", "state", "found", "cure"} == told["checks"][0].keys()
