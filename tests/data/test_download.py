from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from clad.data import download as download_module
from clad.data import owner_counts
from clad.data.download import Archive, download
from clad.data.mvtec_ad import MVTecAD
from clad.data.owner_counts import Counts

TINY_COUNTS = {"metal_nut": Counts(8, 3, 6), "tile": Counts(8, 3, 6)}


def pack(folder, target, extra=None):
    with tarfile.open(target, "w") as archive:
        for entry in sorted(folder.iterdir()):
            archive.add(entry, arcname=entry.name)
        if extra is not None:
            content = b"harm"
            extra.size = len(content) if extra.isfile() else 0
            archive.addfile(extra, io.BytesIO(content))


@pytest.fixture
def owner(tmp_path, monkeypatch):
    """An owner's server as a folder; returns a function that publishes an archive there."""
    monkeypatch.setattr(owner_counts, "MVTEC_AD", TINY_COUNTS)
    folder = tmp_path / "original"
    MVTecAD().write_tiny(folder)

    def publish(extra=None, sha256=None, name="tiny.tar", counts=TINY_COUNTS):
        path = tmp_path / "tiny.tar"
        pack(folder, path, extra)
        archive = Archive(
            name="mvtec_ad",
            url=(tmp_path / name).as_uri(),
            sha256=sha256 or hashlib.sha256(path.read_bytes()).hexdigest(),
            page="the owner's page",
            source="clad.data.mvtec_ad.MVTecAD",
            counts=counts,
        )
        monkeypatch.setattr(download_module, "find_archive", lambda _: archive)
        return archive

    return publish


def test_download_checks_unpacks_and_is_done_once(owner, tmp_path, monkeypatch):
    owner()
    root = tmp_path / "data"
    assert download("mvtec_ad", root) == root
    assert len(MVTecAD().list_samples(root, "all", seed=0).test) == 18
    assert sorted(p.name for p in root.iterdir()) == ["metal_nut", "tile", "tiny.tar"]
    (root / "tiny.tar").unlink()
    monkeypatch.setattr(download_module, "urlopen", None)
    assert download("mvtec_ad", root) == root


def test_archive_that_lies_there_is_used_without_network(owner, tmp_path, monkeypatch):
    owner()
    root = tmp_path / "data"
    root.mkdir()
    (root / "tiny.tar").write_bytes((tmp_path / "tiny.tar").read_bytes())
    monkeypatch.setattr(download_module, "urlopen", None)
    assert download("mvtec_ad", root) == root


def test_wrong_checksum_is_refused_and_the_archive_deleted(owner, tmp_path):
    owner(sha256="0" * 64)
    root = tmp_path / "data"
    with pytest.raises(ValueError, match=r"sha256 0{64} for .*tiny\.tar, got .* is deleted now"):
        download("mvtec_ad", root)
    assert list(root.iterdir()) == []


def test_wrong_archive_that_lies_there_is_refused_too(owner, tmp_path):
    owner()
    root = tmp_path / "data"
    root.mkdir()
    (root / "tiny.tar").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="incomplete or not the owner's"):
        download("mvtec_ad", root)
    assert list(root.iterdir()) == []


def members():
    up = tarfile.TarInfo("../outside.txt")
    absolute = tarfile.TarInfo("/outside.txt")
    hidden = tarfile.TarInfo("tile/../../outside.txt")
    link = tarfile.TarInfo("tile/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    hard = tarfile.TarInfo("tile/hard")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../outside.txt"
    device = tarfile.TarInfo("tile/device")
    device.type = tarfile.CHRTYPE
    return [up, absolute, hidden, link, hard, device]


@pytest.mark.parametrize("member", members(), ids=lambda member: member.name)
def test_member_that_leaves_the_folder_is_refused(owner, tmp_path, member):
    owner(extra=member)
    root = tmp_path / "data"
    with pytest.raises(ValueError, match=r"only files and folders inside .*got the member"):
        download("mvtec_ad", root)
    assert sorted(p.name for p in root.iterdir()) == ["tiny.tar"]
    assert not (tmp_path / "outside.txt").exists()


def test_too_much_content_is_refused(owner, tmp_path, monkeypatch):
    owner()
    monkeypatch.setattr(download_module, "_MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(ValueError, match=r"at most 1000 bytes"):
        download("mvtec_ad", tmp_path / "data")


def test_no_network_says_what_to_do_by_hand(owner, tmp_path):
    archive = owner(name="absent.tar")
    root = tmp_path / "data"
    with pytest.raises(ConnectionError) as caught:
        download("mvtec_ad", root)
    message = str(caught.value)
    for part in (archive.page, archive.sha256, str(root / "absent.tar"), "by hand"):
        assert part in message
    assert list(root.iterdir()) == []


def test_other_data_in_the_root_is_never_overwritten(owner, tmp_path):
    owner()
    mine = tmp_path / "data" / "tile" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ValueError, match=r"incomplete or other .*tile; nothing was overwritten"):
        download("mvtec_ad", tmp_path / "data")
    assert mine.read_text() == "mine"


def test_wrong_counts_after_unpacking_are_said(owner, tmp_path):
    owner(counts={**TINY_COUNTS, "bottle": Counts(1, 1, 1)})
    with pytest.raises(ValueError, match=r"complete mvtec_ad in .*, got no bottle"):
        download("mvtec_ad", tmp_path / "data")


def test_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match=r"data set to be one of mvtec_ad, visa; got 'coco'"):
        download("coco", "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mvtec_ad", "visa"])
def test_addresses_come_from_anomalib(name):
    archive = download_module.find_archive(name)
    assert archive.url.startswith("https://")
    assert len(archive.sha256) == 64
    assert ".tar" in archive.file_name
