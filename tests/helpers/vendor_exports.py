"""Vendor exports made on the spot: real or described indices, small TIFF files whose pixels say where they belong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data" / "exports"
SHAPE = (12, 17)


def image(*parts: int) -> NDArray[np.uint16]:
    """Return noise whose level is unique to a plane: site, channel, depth and so on."""
    level = sum(part * 11**power for power, part in enumerate(parts))
    return np.random.default_rng(parts).integers(level, level + 9, SHAPE).astype(np.uint16)


def write(file: Path, pixels: NDArray[np.uint16]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, pixels, compression="lzw" if pixels.size % 2 else None)


def imagexpress(root: Path) -> Path:
    """Two wells, two sites, three of four waves, depths 1 and 2 and the microscope's projection; thumbnails between."""
    (root / "TimePoint_1").mkdir(parents=True)
    shutil.copy(DATA / "9987.HTD", root / "TimePoint_1")
    for well, column in (("B02", 2), ("B03", 3)):
        for site in (1, 2):
            for wave in (1, 2, 3):
                for depth in (0, 1, 2):
                    name = f"9987_{well}_s{site}_w{wave}"
                    folder = root / f"TimePoint_1/ZStep_{depth}"
                    write(folder / f"{name}.TIF", image(column, site, wave, depth))
                    write(folder / f"{name}_thumb.TIF", image(0)[:4, :4])
    return root


def cellvoyager(root: Path) -> Path:
    """Three wells, four sites, two channels, four depths, as the real index says."""
    from pcim.plates.vendors.export import elements

    root.mkdir(parents=True)
    for name in ("MeasurementData.mlf", "MeasurementDetail.mrf"):
        shutil.copy(DATA / name, root)
    for told, _, name in elements(root / "MeasurementData.mlf", "MeasurementRecord"):
        place = (int(told["Column"]), int(told["FieldIndex"]), int(told["Ch"]), int(told["ZIndex"]))
        write(root / name, image(*place))
    return root


def operetta(root: Path, *, version: int = 5) -> Path:
    """Rows 2 and 5, two fields, two channels; Harmony 6 keeps names and pixel size in the Maps. With a BOM, as Harmony writes."""
    images, entries = [], []
    looks = (
        '<ChannelName>{name}</ChannelName><ImageResolutionX Unit="m">6.5E-07</ImageResolutionX>'
        '<ImageResolutionY Unit="m">5.0E-07</ImageResolutionY>'
    )
    names = {1: "Alexa 488", 2: "HOECHST 33342"}
    for number, name in names.items():
        entries.append(f'<Entry ChannelID="{number}">{looks.format(name=name)}</Entry>')
    for row, column in ((2, 3), (5, 11)):
        for field in (1, 2):
            for number, name in names.items():
                file = f"r{row:02d}c{column:02d}f{field:02d}p01-ch{number}sk1fk1fl1.tiff"
                write(root / "Images" / file, image(row, column, field, number))
                images.append(
                    f'<Image Version="1"><id>x</id><State>Ok</State><URL>{file}</URL><Row>{row}</Row><Col>{column}</Col>'
                    f"<FieldID>{field}</FieldID><PlaneID>1</PlaneID><TimepointID>0</TimepointID><ChannelID>{number}</ChannelID>"
                    f"{looks.format(name=name) if version == 5 else ''}</Image>"
                )
    maps = f"<Maps><Map>{''.join(entries)}</Map></Maps>" if version == 6 else ""
    text = (
        f'<?xml version="1.0" encoding="utf-8"?><EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV{version}">'
        "<Plates><Plate><PlateID>p</PlateID><PlateRows>16</PlateRows><PlateColumns>24</PlateColumns></Plate></Plates>"
        f'<Wells><Well><id>0203</id><Image id="x"/></Well></Wells>{maps}<Images>{"".join(images)}</Images></EvaluationInputData>'
    )
    (root / "Images/Index.idx.xml").write_text(text, encoding="utf-8-sig")
    return root


def tiles(root: Path) -> Path:
    """One file a field that holds two channels and three depths, of which the details name the axes."""
    lines = ["file_path,row,column,fov_name,start_c,length_c,start_z,length_z"]
    for row, column in (("A", 1), ("P", 24)):
        stack = np.stack([[image(column, channel, depth) for depth in range(3)] for channel in range(2)])
        file = root / f"raw/{row} {column} [ü] #.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(file, stack, photometric="minisblack")
        lines.append(f"{file.relative_to(root).as_posix()},{row},{column},x,0,2,0,3")
    (root / "tiles.csv").write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    details = 'pixelsize = 0.65\naxes = ["c", "z", "y", "x"]\nchannels = [{channel_label = "DNA"}, {channel_label = "GFP"}]\n'
    (root / "acquisition_details.toml").write_text(details)
    return root


def ometiff(root: Path) -> Path:
    """Two files of one plate, the OME-XML of both in a companion."""
    root.mkdir(parents=True)
    wells, images = [], []
    for number, (row, column) in enumerate(((0, 0), (2, 4))):
        name = f"field{number}.tif"
        tifffile.imwrite(root / name, np.stack([image(row, column, c) for c in range(2)]), photometric="minisblack")
        wells.append(
            f'<Well ID="Well:{number}" Row="{row}" Column="{column}"><WellSample ID="WellSample:{number}" Index="0">'
            f'<ImageRef ID="Image:{number}"/></WellSample></Well>'
        )
        data = "".join(
            f'<TiffData FirstC="{c}" FirstZ="0" FirstT="0" IFD="{c}" PlaneCount="1"><UUID '
            f'FileName="{name}">urn:uuid:{number}</UUID></TiffData>'
            for c in range(2)
        )
        images.append(
            f'<Image ID="Image:{number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" Type="uint16" SizeX="17" SizeY="12" '
            f'SizeC="2" SizeZ="1" SizeT="1" PhysicalSizeX="650" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5" PhysicalSizeYUnit="µm">'
            f'<Channel ID="Channel:{number}:0" Name="DNA"/><Channel ID="Channel:{number}:1" Name="GFP"/>{data}</Pixels></Image>'
        )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Plate ID="Plate:0" Rows="8" Columns="12">{"".join(wells)}</Plate>{"".join(images)}</OME>'
    )
    (root / "plate.companion.ome").write_text(text, encoding="utf-8-sig")
    return root
