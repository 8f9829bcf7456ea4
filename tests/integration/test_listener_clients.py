"""Clients that others wrote, plain and over TLS: what lies in the spool is what they had."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from imaging.phantom.encode import ENCODABLE
from imaging.phantom_objects import Modality
from tests.factories.dicom_objects import phantom, structured_report, write
from tests.peers.certificates import Authority
from tests.peers.listener import ListenerProcess, data_set_of
from tests.peers.raw import VERIFICATION

HOST = "127.0.0.1"
# what storescu must be told so that it proposes the syntax a file is in; it knows neither HTJ2K nor process 14
STORESCU_OPTIONS = {
    uid.ImplicitVRLittleEndian: "-xi",
    uid.ExplicitVRLittleEndian: "-xe",
    uid.JPEGBaseline8Bit: "-xy",
    uid.JPEGExtended12Bit: "-xx",
    uid.JPEGLosslessSV1: "-xs",
    uid.JPEGLSLossless: "-xt",
    uid.JPEGLSNearLossless: "-xu",
    uid.JPEG2000Lossless: "-xv",
    uid.JPEG2000: "-xw",
    uid.RLELossless: "-xr",
}
DCMSEND_SYNTAXES = [*STORESCU_OPTIONS, uid.JPEGLossless]
EIGHT_BIT = {uid.JPEGBaseline8Bit}


@dataclass(frozen=True)
class Way:
    """A listener, and how a client gets to it."""

    listener: ListenerProcess
    port: int
    dcmtk: tuple[str, ...] = ()
    context: ssl.SSLContext | None = None

    def run(self, program: str, *options: str | Path, files: Sequence[Path] = ()) -> None:
        """Run one of dcmtk's clients to its good end."""
        where = ("-aec", "LUNGWATCH", "-aet", "DCMTK", HOST, str(self.port))
        done = subprocess.run(
            [program, *options, *self.dcmtk, *where, *files], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def associate(self, *contexts: tuple[str, Sequence[str]]) -> Association:
        """Associate with pynetdicom's own client."""
        entity = ApplicationEntity("PYNETDICOM")
        for abstract, transfer in contexts:
            entity.add_requested_context(abstract, list(transfer))
        tls = None if self.context is None else (self.context, "localhost")
        association = entity.associate(HOST, self.port, ae_title="LUNGWATCH", tls_args=tls)
        assert association.is_established
        return association

    def stored(self, dataset: Dataset) -> Path:
        """The one file in the spool that holds this instance."""
        (found,) = [
            path
            for path in self.listener.files
            if dcmread(path, stop_before_pixels=True).SOPInstanceUID == dataset.SOPInstanceUID
        ]
        return found


@pytest.fixture(scope="module", params=["plain", "TLS", "mutual TLS"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("clients")
    if request.param == "plain":
        with ListenerProcess(folder / "data") as listener:
            yield Way(listener, listener.port)
        return
    authority = Authority(folder / "authority")
    server, client = authority.issue("server"), authority.issue("client")
    mutual = request.param == "mutual TLS"
    settings = {"tls_port": 0, "tls_certificate_file": server.certificate, "tls_key_file": server.key}
    if mutual:
        settings["tls_client_ca_file"] = authority.certificate
    own = ("+tls", str(client.key), str(client.certificate)) if mutual else ("+tla",)
    with ListenerProcess(folder / "data", settings=settings) as listener:
        context = authority.client_context(client if mutual else None)
        yield Way(listener, listener.tls_port, (*own, "+cf", str(authority.certificate)), context)


def radiograph(syntax: str = uid.ExplicitVRLittleEndian, **plan: Any) -> Dataset:
    return phantom(syntax=uid.UID(syntax), bits_stored=8 if syntax in EIGHT_BIT else 12, **plan)


def assert_same_bytes(way: Way, dataset: Dataset, path: Path) -> None:
    found = way.stored(dataset)
    assert dcmread(found).file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert data_set_of(found) == data_set_of(path)


@pytest.mark.requires("echoscu")
def test_echo(way: Way) -> None:
    way.run("echoscu", "--repeat", "3")
    association = way.associate((VERIFICATION, [uid.ImplicitVRLittleEndian]))
    assert association.send_c_echo().Status == 0x0000
    association.release()


@pytest.mark.requires("storescu")
@pytest.mark.parametrize("syntax", STORESCU_OPTIONS, ids=lambda syntax: syntax.name)
def test_storescu(way: Way, tmp_path: Path, syntax: uid.UID) -> None:
    dataset = radiograph(syntax)
    path = write(tmp_path, dataset)
    way.run("storescu", STORESCU_OPTIONS[syntax], files=[path])
    assert_same_bytes(way, dataset, path)


@pytest.mark.requires("storescu")
def test_storescu_sends_a_study_on_one_association(way: Way, tmp_path: Path) -> None:
    study = [radiograph(), radiograph(modality=Modality.CR), radiograph(view="LL"), structured_report()]
    paths = [write(tmp_path, dataset, f"{number}.dcm") for number, dataset in enumerate(study)]
    way.run("storescu", files=paths)
    for dataset, path in zip(study, paths, strict=True):
        assert_same_bytes(way, dataset, path)


# it knows no TLS
@pytest.mark.requires("dcmsend")
@pytest.mark.parametrize("way", ["plain"], indirect=True)
def test_dcmsend_sends_every_syntax_on_one_association(way: Way, tmp_path: Path) -> None:
    study = [radiograph(syntax) for syntax in DCMSEND_SYNTAXES]
    paths = [write(tmp_path, dataset, f"{number}.dcm") for number, dataset in enumerate(study)]
    way.run("dcmsend", "--decompress-never", files=paths)
    for dataset, path in zip(study, paths, strict=True):
        if dataset.file_meta.TransferSyntaxUID == uid.ImplicitVRLittleEndian:
            # of uncompressed ones it proposes all and takes our choice
            assert dcmread(way.stored(dataset)) == dcmread(path)
        else:
            assert_same_bytes(way, dataset, path)


def test_pynetdicom_sends_every_syntax_on_one_association(way: Way, tmp_path: Path) -> None:
    study = [radiograph(syntax) for syntax in ENCODABLE]
    association = way.associate(*((study[0].SOPClassUID, [syntax]) for syntax in ENCODABLE))
    try:
        assert [association.send_c_store(dataset).Status for dataset in study] == [0x0000] * len(ENCODABLE)
    finally:
        association.release()
    for dataset in study:
        assert_same_bytes(way, dataset, write(tmp_path, dataset))


@pytest.fixture(scope="module")
def large() -> NDArray[np.uint16]:
    """15 MB, and no two rows alike."""
    rows, columns = np.mgrid[:3000, :2500]
    picture: NDArray[np.uint16] = ((rows * 37 + columns * 11) % 4096).astype(np.uint16)
    return picture


@pytest.mark.requires("storescu")
@pytest.mark.parametrize("client", ["storescu", "pynetdicom"])
def test_a_large_one(way: Way, tmp_path: Path, large: NDArray[np.uint16], client: str) -> None:
    dataset = radiograph(picture=large)
    path = write(tmp_path, dataset)
    assert path.stat().st_size > 15_000_000
    if client == "pynetdicom":
        association = way.associate((dataset.SOPClassUID, [uid.ExplicitVRLittleEndian]))
        try:
            assert association.send_c_store(dataset).Status == 0x0000
        finally:
            association.release()
    else:
        way.run("storescu", files=[path])
    assert_same_bytes(way, dataset, path)
