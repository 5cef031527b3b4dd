"""A campaign's files are made from a folder of plates and a classifier, and what is written is right as it is."""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import select
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import vendor_exports
import yaml
import zarr
from documents import SHELL, blocks_of
from model_forms import detector, digest_of, save_program, write_own
from ome_zarr_models import v05
from planted_campaign import spot_field, write_campaign, write_model, write_plate
from rich.console import Console
from typer.testing import CliRunner, Result

from pcim import open_plate
from pcim.campaign.campaign import Campaign
from pcim.campaign.input_tables import CampaignError, read_config
from pcim.campaign.scaffold.discover import FoundPlate, find_plates
from pcim.campaign.scaffold.platemap_template import platemap_text, read_given
from pcim.cli.main import app
from pcim.cli.setup_output import show_found
from pcim.config.config import Config
from pcim.core.plate_source import Source
from pcim.operations.validate import validate
from pcim.plates.inventory import Survey, survey_plate
from pcim.plates.vendors import MARKS, READERS, read_export

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two OME-Zarr plates and a classifier, in folders that people would make."""
    folder = tmp_path_factory.mktemp("screen") / "Müller's plates [1]"
    write_campaign(folder, plates=2, columns=2)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    read_export.cache_clear()  # of the same relative paths
    return tmp_path


def init(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, words)])


def tiff_plate(root: Path, channels: int = 2) -> Path:
    """Write a folder of TIFFs as ImageXpress names them, without its .HTD."""
    rng = np.random.default_rng(3)
    for well in ("A01", "A02", "B01"):
        for wave, plane in enumerate(spot_field(rng, (60, 60), (20, 20) if well == "A02" else None), 1):
            (root / "TimePoint_1").mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / f"TimePoint_1/day 1_{well}_s1_w{wave}.TIF", plane)
    return root


def test_what_is_written_for_omezarr_plates_passes_validation_as_it_is(screen: Path, here: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in screen.rglob("*")}
    result = init("my screen", "--plates", screen, "--model", screen / "model", "--trust", "planted_campaign")
    assert result.exit_code == 0, result.output
    told = validate([Path("my screen/config.yaml")])
    assert told.faults == []
    assert {path: path.stat().st_mtime_ns for path in screen.rglob("*")} == before, "sources are only read"
    campaign = Campaign.load(read_config([Path("my screen/config.yaml")]))
    assert (campaign.name, list(campaign.plates)) == ("my_screen", ["plate1", "plate2"])
    (entry,) = campaign.config.classifiers.values()
    assert (entry.objects, entry.truth, entry.split) == ("spots", "label", "split")
    text = Path("my screen/platemap.csv").read_text().splitlines()
    assert text[0] == "well_position,treatment,control_type,dose,label,split"
    assert [line.strip(",") for line in text[1:]] == ["A01", "A02", "B01", "B02"]
    assert "pcim validate --configfile 'my screen/config.yaml'" in result.stdout
    assert "pcim report --configfile 'my screen/config.yaml'" in result.stdout


@pytest.mark.parametrize("channels", ["DNA,Reporter", ""])
def test_what_is_written_for_a_folder_of_tiffs_passes_once_its_channels_are_named(screen: Path, here: Path, channels: str) -> None:
    tiff_plate(here / "raw" / "day 1")
    words = ["my", "--plates", "raw", "--model", screen / "model/model.yaml", "--trust", "planted_campaign"]
    result = init(*words, *(["--channels", channels] if channels else []))
    if not channels:
        assert result.exit_code == 2
        assert "are not on it, which has ['C01', 'C02']; name all 2 in their order" in result.stderr
        assert not (here / "my").exists()
        return
    assert result.exit_code == 0, result.output
    assert validate([Path("my/config.yaml")]).faults == []
    (row,) = csv.DictReader(Path("my/plates.tsv").read_text().splitlines(), delimiter="\t")
    assert (row["plate"], row["path"], row["format"], row["channels"]) == (
        "day_1", "raw/day 1", "imagexpress", "DNA,Reporter",
    )  # fmt: skip


def test_every_key_that_is_offered_is_a_key_and_its_value_allowed(screen: Path, here: Path) -> None:
    assert init("my", "--plates", screen, "--model", screen / "model", "--trust", "planted_campaign").exit_code == 0
    text = Path("my/config.yaml").read_text()
    offered = re.sub(r"^( *)#(?! )", r"\1", text, flags=re.MULTILINE)
    assert offered.count("\n#") < text.count("\n#")
    values = yaml.safe_load(offered)
    assert {"attribute", "budget", "report", "minutes_per_chunk"} <= values.keys()
    Config.model_validate(values)
    described = {re.sub(r"\W+", " ", line) for line in text.splitlines() if line.strip().startswith("# ")}
    assert any("Name of the campaign" in line for line in described)


def test_a_program_is_trusted_by_its_digest_and_asked_by_the_methods_that_it_answers(screen: Path, here: Path) -> None:
    (here / "own").mkdir()
    save_program(detector(), here / "own/net.pt2")
    model = write_own(here / "own", "torch_export", "net.pt2")
    digest = digest_of(here / "own/net.pt2")
    words = ["my", "--plates", screen, "--model", model]
    assert f"--trust {digest}: the classifier is made by code of that package or file" in init(*words).stderr
    assert init(*words, "--trust", digest).exit_code == 0
    assert validate([Path("my/config.yaml")]).faults == []
    config = Campaign.load(read_config([Path("my/config.yaml")])).config
    assert config.classify.trusted_programs == [digest]
    assert {"pcim", "integrated_gradients", "randomised_model"} <= set(config.attribute.methods)
    assert "grad_cam" not in config.attribute.methods


def test_nothing_is_overwritten_and_nothing_is_written_beside_it(screen: Path, here: Path) -> None:
    (here / "my").mkdir()
    (here / "my/plates.tsv").write_text("mine")
    (here / "my/platemap.csv").symlink_to("nowhere")
    result = init("my", "--plates", screen, "--model", screen / "model", "--trust", "planted_campaign")
    assert result.exit_code == 2
    assert "nothing is overwritten, and there are already: my/platemap.csv, my/plates.tsv" in result.stderr
    assert sorted(path.name for path in (here / "my").iterdir()) == ["platemap.csv", "plates.tsv"]
    assert (here / "my/plates.tsv").read_text() == "mine"


def test_without_a_terminal_all_that_is_missing_is_one_message() -> None:
    result = init()
    assert result.exit_code == 2
    assert [line[:5] for line in result.stderr.splitlines()[1:]] == ["  1. ", "  2. ", "  3. "]
    assert "docs/own-model.md" in result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--plates", "{screen}", "--model", "{screen}/model"], "--trust planted_campaign: the classifier is made by code of that"),
        (["--plates", "{screen}", "--model", "{screen}/model", "--objects", "spot"], "allowed: ['spots']"),
        (["--plates", "{screen}", "--model", "{screen}/model", "--name", "My screen"], "--name 'My screen': expected at most"),
        (["--plates", "nowhere", "--model", "{screen}/model"], "no plate at or below nowhere"),
        (["--plates", "{screen}", "--model", "nowhere.yaml"], "--model: nowhere.yaml: no such file"),
        (["--plates", "{screen}", "--model", "{screen}/model", "--z", "first"], "z 'first': expected a number or max or mean"),
        (["--plates", "https://u:secret@host/p.zarr", "--model", "{screen}/model"], "credentials belong in the environment"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_written(screen: Path, here: Path, words: list[str], told: str) -> None:
    result = init("my", *(word.format(screen=screen) for word in words))
    assert result.exit_code == 2
    assert told in result.stderr
    assert "secret" not in result.output
    assert not list(here.iterdir())


def test_a_stack_asks_for_a_plane_by_the_option_that_gives_it(screen: Path, here: Path) -> None:
    vendor_exports.tiles(here / "raw")
    model = write_model(here / "model", input=inputs(screen) | {"channels": ["DNA", "GFP"], "size": [12, 17]})
    words = ["my", "--plates", "raw", "--model", model, "--trust", "planted_campaign"]
    assert "3 depths [0, 1, 2]; name one, max or mean in the column 'z' (here: --z)" in init(*words).stderr
    assert init(*words, "--z", "max").exit_code == 0
    assert "\ttiles\tmax" in Path("my/plates.tsv").read_text()


def inputs(screen: Path) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((screen / "model/model.yaml").read_text())["input"]
    return told


def test_plates_of_every_format_are_found_by_their_own_files(here: Path) -> None:
    made = {"imagexpress", "cellvoyager", "operetta", "tiles", "ometiff"}
    for name in made:
        getattr(vendor_exports, name)(here / "deep/er" / name)
    pixels = np.zeros((1, 8, 8), np.uint8)
    write_plate(here / "deep/p.zarr", {("A", "1", "0"): pixels}, channels=["DNA"], version="0.4")
    write_plate(here / "p.zarr", {("A", "1", "0"): pixels}, channels=["DNA"])
    vendor_exports.write(here / "flat/x_B02_s1_w1.tif", vendor_exports.image(1))
    vendor_exports.write(here / "other/B02.tif", vendor_exports.image(1))
    (here / "image.zarr").mkdir()
    (here / "image.zarr/zarr.json").write_text('{"attributes": {"ome": {"version": "0.5", "multiscales": []}}}')
    found = [(Path(address).relative_to(here).as_posix(), kind) for address, kind in find_plates(str(here))]
    assert found == [
        *((f"deep/er/{name}", name) for name in sorted(made)),
        ("deep/p.zarr", "omezarr"),
        ("flat", "imagexpress"),
        ("p.zarr", "omezarr"),
    ]
    assert set(MARKS) == set(READERS), "every reader has its marks"


def test_other_tiffs_go_in_with_the_table_that_the_page_writes(screen: Path, here: Path) -> None:
    page = ROOT / "docs/plates.md"
    table, snippet, details = (one for one in blocks_of(page) if one.test.endswith("the_page_writes"))
    names = [line.partition(",")[0] for line in table.text.splitlines()[1:]]
    for name in names:
        vendor_exports.write(here / "raw" / name, np.zeros((60, 60), np.uint16))
    words = ["my", "--plates", "raw", "--model", screen / "model", "--trust", "planted_campaign"]
    told = init(*words).stderr
    assert "{well}_s{site}_w{channel}.tif go in as they are, as exp7-A1-f1-ch0.tif is not" in told
    assert "columns file_path, row, column, and where there are several fov_name, start_c, start_z, start_t" in told
    exec(compile(snippet.text, str(snippet), "exec"), {})
    assert (here / "raw/tiles.csv").read_text().splitlines() == table.text.splitlines()
    assert "are not on it, which has ['C00', 'C01']; name all 2 in their order" in init(*words).stderr
    (here / "raw/acquisition_details.toml").write_text(details.text)
    read_export.cache_clear()
    result = init(*words)
    assert result.exit_code == 0, result.output
    survey = Campaign.load(read_config([Path("my/config.yaml")])).plans["raw"].survey
    assert (survey.wells, survey.channels) == ({"A01": ("A/1", ("1",)), "B12": ("B/12", ("1",))}, ("DNA", "Reporter"))
    assert survey.pixel_size_um == 0.65


@pytest.mark.parametrize(
    ("names", "wells", "channels"),
    [
        (["A01_s1_w1.tif", "A01_s1_w2.tif"], ["A01"], 2),
        (["b3_s1_w1.TIF", "C12_s1_w1.tif"], ["B03", "C12"], 1),
        (["A01_w1.tif", "A01_w10.tif"], ["A01"], 2),
        (["exp1_B3_s1_w1.tif"], ["B03"], 1),
        (["A01_s1_w1.tif", "A01_s1_w1_thumb.tif"], ["A01"], 1),
        (["A01_s1_w1.tif", "A01_s1_w1_z2.tif"], None, 0),
        (["A01_s1_w1.tif", "overview.tif"], None, 0),
        (["A01.tif"], None, 0),
    ],
)
def test_tiffs_that_are_all_named_by_well_site_and_channel_are_a_plate(
    here: Path, names: list[str], wells: list[str] | None, channels: int
) -> None:
    for name in names:
        vendor_exports.write(here / "raw" / name, vendor_exports.image(1))
    found = list(find_plates("raw"))
    assert found == ([] if wells is None else [("raw", "imagexpress")])
    if wells:
        survey = survey_plate(Source("raw", format="imagexpress"))
        assert (list(survey.wells), len(survey.channels)) == (wells, channels)


def test_plates_of_one_name_get_two_and_wells_that_differ_get_maps_of_their_own(screen: Path, here: Path) -> None:
    field = np.zeros((2, 60, 60), np.uint16)
    write_plate(here / "raw/CON.zarr", {("A", "1", "0"): field})
    write_plate(here / "raw/a/p.zarr", {("A", "1", "0"): field})
    write_plate(here / "raw/b/p.zarr", {("A", "1", "0"): field, ("A", "2", "0"): field})
    result = init("my", "--plates", "raw", "--model", screen / "model", "--trust", "planted_campaign")
    assert result.exit_code == 0, result.output
    assert validate([Path("my/config.yaml")]).faults == []
    assert [line.split("\t")[::2] for line in Path("my/plates.tsv").read_text().splitlines()[1:]] == [
        ["plate_CON", "my/platemap_plate_CON.csv"],
        ["p", "my/platemap_plate_CON.csv"],
        ["p_2", "my/platemap_p_2.csv"],
    ]


def test_a_given_plate_map_is_taken_over_for_the_wells_that_there_are(screen: Path, here: Path) -> None:
    rows = 'Well;Treatment;Control Type;Dose;label;Batch\r\na1;DMSO;negcon;;plain;7\r\nA2;"x;y";;1.5;spot;7\r\nH12;z;;;;8\r\n'
    (here / "given.csv").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    words = ["my", "--plates", screen, "--model", screen / "model", "--trust", "planted_campaign", "--platemap", "given.csv"]
    result = init(*words)
    assert result.exit_code == 0, result.output
    assert Path("my/platemap.csv").read_text().splitlines() == [
        "well_position,treatment,control_type,dose,label,split,Batch",
        "A01,DMSO,negcon,,plain,,7",
        "A02,x;y,,1.5,spot,,7",
        "B01,,,,,,",
        "B02,,,,,,",
    ]
    assert "column 'Well' of the plate map was read as 'well_position'" in result.stdout
    assert "of the plate map, 1 wells are on no plate and left out" in result.stdout
    assert "of the plate map, 2 wells are not in it and left empty" in result.stdout
    assert "1. my/platemap.csv has treatment, control_type, dose, label, Batch of 2 wells, as given; still empty" in result.stdout
    assert "\n     split (train: the classifier saw the well, test: it did not).\n" in result.stdout
    assert validate([Path("my/config.yaml")]).faults == []


def test_a_layout_with_a_column_of_plates_becomes_a_plate_map_a_plate(screen: Path, here: Path) -> None:
    rows = "Plate;Well;label;split\nplate1;A1;spot;train\nplate2.zarr;A1;plain;test\nplate9;A1;plain;test\n"
    (here / "layout.csv").write_text(rows)
    words = ["my", "--plates", screen, "--model", screen / "model", "--trust", "planted_campaign", "--platemap", "layout.csv"]
    result = init(*words)
    assert result.exit_code == 0, result.output
    maps = {name: Path(f"my/platemap_{name}.csv").read_text().splitlines() for name in ("plate1", "plate2")}
    assert {name: text[1] for name, text in maps.items()} == {
        "plate1": "A01,,,,spot,train",
        "plate2": "A01,,,,plain,test",
    }
    assert len(maps["plate1"]) == 5
    assert "its column 'plate' names 'plate9', which is none of the plates (did you mean 'plate" in result.stdout
    assert "of the plate map, 1 wells are on no plate" in result.stdout
    assert "of the plate map, 6 wells are not in it" in result.stdout
    assert validate([Path("my/config.yaml")]).faults == []
    (here / "layout.csv").write_text(rows.replace("plate1;", "p;").replace("plate2.zarr", "p"))
    told = init("other", *words[1:]).stderr
    assert "layout.csv:3: well A01 is listed twice" in told
    (here / "layout.csv").write_text("plate,well,split\np,A1,training\n")
    told = init("other", *words[1:]).stderr
    assert "--platemap: its column 'plate' names none of ['plate1', 'plate2']: ['p']" in told
    assert "split: 'training' (p A01) is none of ['train', 'test'] and not empty (did you mean 'train'?)" in told
    (here / "layout.csv").write_text("plate,well\n,A1\n")
    assert "layout.csv:2: the plate's name is missing in column 'plate'" in init("other", *words[1:]).stderr
    assert not Path("other").exists()


def test_that_plates_share_a_given_plate_map_is_told_where_it_happens(screen: Path, here: Path) -> None:
    (here / "map1.csv").write_text("well,label\nA1,spot\n")
    words = ["--model", screen / "model", "--trust", "planted_campaign", "--platemap", "map1.csv"]
    shared = "went to all 2 plates alike, its treatments, labels and split too"
    assert shared in init("both", "--plates", screen, *words).stdout
    assert shared not in init("one", "--plates", screen / "plate1.zarr", *words).stdout


def test_faults_of_a_given_plate_map_say_their_lines(screen: Path, here: Path) -> None:
    (here / "given.csv").write_text("well,label,dose\nA1,spott,1\nA1,spot,much\nwhere,,\n")
    words = ["my", "--plates", screen, "--model", screen / "model", "--trust", "planted_campaign", "--platemap", "given.csv"]
    told = init(*words).stderr
    for fault in (
        "given.csv:3: well A01 is listed twice",
        "given.csv:3: dose 'much'",
        "given.csv:4: well position 'where'",
    ):
        assert fault in told
    (here / "given.csv").write_text("well,label\nA1,spott\n")
    assert "label: 'spott' (A01) is no class of ['plain', 'spot'] (did you mean 'spot'?)" in init(*words).stderr


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_plate_map_that_was_written_is_read_as_it_was(here: Path, delimiter: str) -> None:
    known = {"B02": {"treatment": 'a "b", c', "control_type": "", "dose": "1", "label": "", "split": "train", "own": "ü"}}
    (here / "map.csv").write_text(
        platemap_text(["AA01", "B02", "B10"], known).replace(",", delimiter)
        if delimiter != ","
        else platemap_text(["AA01", "B02", "B10"], known)
    )
    faults: list[str] = []
    given = read_given(here / "map.csv", faults)
    wells = given.maps[""]
    assert (faults, given.renamed, list(wells)) == ([], {}, ["B02", "B10", "AA01"])
    assert {**wells["B02"], "treatment": ""} == {**known["B02"], "treatment": ""}


@pytest.mark.parametrize("are_named", [True, False])
def test_in_a_terminal_it_asks(screen: Path, here: Path, are_named: bool) -> None:
    tiff_plate(here / "raw")
    main, end = pty.openpty()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TERM": "dumb"}
    command = [sys.executable, "-m", "pcim.cli.main", "init"]
    asked = subprocess.Popen(command, cwd=here, env=environment, stdin=end, stdout=end, stderr=end)
    os.close(end)
    seen = ""
    for prompt, answer in (
        ("Folder of the campaign", "my"),
        ("Folder of the plates", f'"{screen}"' if are_named else "raw"),
        ("The classifier's model.yaml", str(screen / "model")),
        *([] if are_named else [("A plate map as CSV", "lost.csv"), (f"lost.csv: no such file or folder in {here}", None)]),
        ("A plate map as CSV", ""),
        *(
            [("Which label holds the biology?", "")]
            if are_named
            else [
                ("call their channels C01, C02; the classifier looks at DNA, Reporter", "DNA"),
                ("'DNA': expected 2 names, DNA, Reporter among them", None),
                ("comma separated; empty: leave them", "DNA, Reporter"),
            ]
        ),
        ("Run it?", "y"),
    ):
        while prompt not in seen and select.select([main], [], [], 120)[0]:
            seen += os.read(main, 4096).decode()
        assert prompt in seen
        seen = seen.partition(prompt)[2]
        if answer is not None:
            os.write(main, f"{answer}\n".encode())
    while asked.poll() is None and select.select([main], [], [], 120)[0]:
        try:
            seen += os.read(main, 4096).decode()
        except OSError:  # the other end is closed
            break
    assert asked.wait(120) == 0, seen
    assert validate([Path("my/config.yaml")]).faults == []


def test_a_broken_config_of_a_scaffold_says_its_line(screen: Path, here: Path) -> None:
    assert init("my", "--plates", screen, "--model", screen / "model", "--trust", "planted_campaign").exit_code == 0
    file = Path("my/config.yaml")
    file.write_text(file.read_text().replace("objects: spots", "objects: spot"))
    with pytest.raises(CampaignError, match=r"my/config\.yaml:\d+: classifiers\.spots: objects: 'spot' is not one of"):
        Campaign.load(read_config([file]))


def test_objects_are_added_to_a_plate_of_tiffs_as_the_page_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiff_plate(here / "raw")
    (here / "my_nets.py").write_text("from planted_campaign import spot_detector\n")
    monkeypatch.syspath_prepend(here)
    write_model(here / "my_model", architecture="my_nets:spot_detector")
    words = [
        "tiff_screen",
        "--plates",
        "raw",
        "--model",
        "my_model",
        "--channels",
        "DNA,Reporter",
        "--trust",
        "my_nets",
    ]
    told = init(*words, "--objects", "nuclei")
    assert (told.exit_code, list(here.glob("tiff_screen"))) == (2, [])
    assert "'nuclei' is no label of every plate; there is none; docs/plates.md says how to add them" in told.stderr
    told = init(*words)
    assert told.exit_code == 0, told.output
    assert "no label images: the report will not be able to say whether it looks at the biology; docs/plates.md" in told.stdout
    page = ROOT / "docs/plates.md"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for block in (one for one in blocks_of(page) if one.test.endswith("as_the_page_says")):
        if block.language not in SHELL:
            exec(compile(block.text, str(block), "exec"), {})
            continue
        for program, *rest in map(shlex.split, block.commands):
            command = [sys.executable, "-m", "pcim.cli.main"] if program == "pcim" else [program]
            ran = subprocess.run([*command, *rest], cwd=here, env=environment, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, (rest, ran.stderr)
    assert "no label images" not in ran.stdout
    plate = open_plate("plates/raw.zarr")
    assert (plate.wells, plate.labels) == (["A01", "A02", "B01"], ["nuclei"])
    label, dna = plate.label("A02", None, "nuclei"), plate.field("A02").sel(channel="DNA").values
    assert (label.shape, label.dtype.kind) == (dna.shape, "u")
    assert dna[label.values > 0].min() > dna[label.values == 0].max(), "the threshold's objects are read back, pixel by pixel"
    v05.Image.from_zarr(zarr.open_group("plates/raw.zarr/A/2/1", mode="r"))
    v05.ImageLabel.from_zarr(zarr.open_group("plates/raw.zarr/A/2/1/labels/nuclei", mode="r"))
    assert validate([Path("my_screen/config.yaml")]).faults == []
    (entry,) = Campaign.load(read_config([Path("my_screen/config.yaml")])).config.classifiers.values()
    assert entry.objects == "nuclei"
    (snippet,) = (one for one in blocks_of(page) if one.test.endswith("page_says") and one.language == "python")
    (here / "other").mkdir()
    monkeypatch.chdir(here / "other")
    write_plate(Path("plates/raw.zarr"), {("A", "1", "0"): spot_field(np.random.default_rng(3), (61, 60), (20, 20))})
    exec(compile(snippet.text, str(snippet), "exec"), {})
    np.testing.assert_array_equal(np.unique(open_plate("plates/raw.zarr").label("A01", "0", "nuclei") > 0), [False, True])


def test_the_commands_of_the_page_do_what_it_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("example", "Snakefile", "workflow", "config", "profiles", "envs"):
        (here / name).symlink_to(ROOT / name)
    tiff_plate(here / "raw")
    (here / "my_nets.py").write_text("from planted_campaign import spot_detector\n")
    monkeypatch.syspath_prepend(here)
    write_model(here / "my_model", architecture="my_nets:spot_detector")
    commands = [line for b in blocks_of(ROOT / "docs/init.md") if b.language in SHELL for line in b.commands]
    for program, *words in map(shlex.split, commands):
        if words[0] != "report":
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, (words, result.output)
        else:
            assert program == "pcim"
            for command in (
                ["pcim.cli.main", *words],
                ["snakemake", *words[1:], "--cores", "1"],
            ):  # in a clone they are the same
                ran = subprocess.run([sys.executable, "-m", *command, "--dry-run"], cwd=here, capture_output=True, text=True, check=False)
                assert ran.returncode == 0, ran.stderr
                assert "To come in campaign 'my_screen'" in ran.stderr
    assert sum("pcim report" in line for line in commands) == 1
    assert validate([Path("tiff_screen/config.yaml")]).faults == []
    assert "negcon,0,negative" in Path("from_table/platemap.csv").read_text()


def test_what_was_found_fits_80_columns_each_value_whole_on_its_line() -> None:
    wells = {f"A{n:02d}": (f"A/{n}", tuple(map(str, range(9)))) for n in range(1, 25)}
    painted = Survey("", wells, ("DNA", "ER", "RNA", "AGP", "Mito"), ("nuclei", "cells"), (2160, 2160), "uint16", 0.325)
    plain = replace(painted, channels=("DNA",), labels=())
    plates = [
        FoundPlate(f"2026_11_26_compounds_batch_{n}", Source("p", format="imagexpress"), plain if n == 6 else painted) for n in range(1, 7)
    ]
    text = io.StringIO()
    show_found(Console(file=text, width=80, force_terminal=True, color_system=None, highlight=False), plates)
    table, _, lists = text.getvalue().partition("channels of")
    assert max(map(len, table.splitlines())) <= 80
    values = ("imagexpress", "24", "216", "2160 x 2160", "uint16", "0.325")
    assert sum(all(value in line for value in values) for line in table.splitlines()) == 6
    first = ", ".join(f"2026_11_26_compounds_batch_{n}" for n in (1, 2, 3))
    assert lists.splitlines() == [
        f" {first} and 2 more: DNA, ER, RNA, AGP, Mito",
        "channels of 2026_11_26_compounds_batch_6: DNA",
        f"label images of {first} and 2 more: nuclei, cells",
        "label images of 2026_11_26_compounds_batch_6: none",
    ]
    alone = io.StringIO()
    show_found(Console(file=alone, width=80), plates[:1])
    assert alone.getvalue().endswith("channels: DNA, ER, RNA, AGP, Mito\nlabel images: nuclei, cells\n")
