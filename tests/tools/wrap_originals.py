"""Wrap the public collection's pictures as DX objects of 12 bits in several lossless transfer syntaxes.

    python -m tests.tools.wrap_originals chest_xray_fullres_sample.zip OUTDIR

writes ``OUTDIR/<syntax>/<number>.dcm`` and ``OUTDIR/index.json``: for each file
its name, the picture it came from, UIDs, and the option with which dcmtk's
``storescu`` proposes the folder's syntax, so that a whole folder goes in one
association: ``storescu -xs localhost 11112 OUTDIR/jpeg-lossless-sv1/*.dcm``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

from pydicom import uid

from cli.demo.own_data import find, wrapped
from imaging.phantom_objects import Uids


@dataclass(frozen=True, slots=True)
class Folder:
    name: str
    syntax: uid.UID
    storescu: str


FOLDERS = (
    Folder("explicit", uid.ExplicitVRLittleEndian, "-xe"),
    Folder("jpeg-lossless-sv1", uid.JPEGLosslessSV1, "-xs"),
    Folder("jpeg-2000-lossless", uid.JPEG2000Lossless, "-xv"),
    Folder("rle", uid.RLELossless, "-xr"),
    Folder("jpeg-ls-lossless", uid.JPEGLSLossless, "-xt"),
    Folder("implicit", uid.ImplicitVRLittleEndian, "-xi"),
)


@dataclass(frozen=True, slots=True)
class Wrapped:
    file: str
    picture: str
    study_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    storescu: str


def wrap(source: Path, destination: Path, limit: int = 1_000_000, seed: str = "wrapped") -> Iterator[Wrapped]:
    """Write the objects one by one; the index is written when all are."""
    uids = Uids(seed)
    index = []
    for number, (picture, folder) in enumerate(zip(find([source], limit), cycle(FOLDERS), strict=False), 1):
        path = destination / folder.name / f"{number:05d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        sending = wrapped(picture.read(), path, picture.name, uids, folder.syntax, number)
        index.append(
            Wrapped(
                file=str(path.relative_to(destination)),
                picture=picture.name,
                study_uid=sending.study_uid,
                sop_instance_uid=sending.sop_instance_uid,
                transfer_syntax_uid=sending.transfer_syntax_uid,
                storescu=folder.storescu,
            )
        )
        yield index[-1]
    (destination / "index.json").write_text(json.dumps([asdict(one) for one in index], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description="Wrap pictures as DX objects of 12 bits.")
    parser.add_argument("source", type=Path, help="zip, folder or picture")
    parser.add_argument("destination", type=Path, help="folder to write to")
    parser.add_argument("--limit", type=int, default=1_000_000, help="at most so many, spread evenly")
    arguments = parser.parse_args()
    count = sum(1 for _ in wrap(arguments.source, arguments.destination, arguments.limit))
    sys.stdout.write(f"{count} objects in {arguments.destination}\n")


if __name__ == "__main__":
    main()
