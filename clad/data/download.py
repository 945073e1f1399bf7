"""Fetching MVTec-AD and VisA from their owners: checked by SHA-256, unpacked safely, counted."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.error import URLError
from urllib.request import urlopen

from clad.checks import expect_choice
from clad.data import owner_counts
from clad.data.base import DataSource

DownloadName = Literal["mvtec_ad", "visa"]

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 30
_MAX_UNPACKED_BYTES = 30 * 10**9


@dataclass(frozen=True)
class Archive:
    """What is needed to fetch one data set.

    Args:
        name: Name in messages.
        url: Where the owner keeps the archive.
        sha256: Of the archive, in hexadecimal digits.
        page: The owner's page, where a person can fetch it by hand and read the licence.
        source: Import path of the class that reads the folder, to count what was unpacked.
        counts: The owner's numbers of images per category.
    """

    name: str
    url: str
    sha256: str
    page: str
    source: str
    counts: Mapping[str, owner_counts.Counts]

    @property
    def file_name(self) -> str:
        """Last part of the address."""
        return PurePosixPath(self.url).name


_KNOWN = {
    "mvtec_ad": (
        "anomalib.data.datamodules.image.mvtecad",
        "https://www.mvtec.com/company/research/datasets/mvtec-ad",
        "clad.data.mvtec_ad.MVTecAD",
        owner_counts.MVTEC_AD,
    ),
    "visa": (
        "anomalib.data.datamodules.image.visa",
        "https://github.com/amazon-science/spot-diff",
        "clad.data.visa.VisA",
        owner_counts.VISA,
    ),
}


def find_archive(name: DownloadName) -> Archive:
    """The archive's address and SHA-256 as anomalib's data modules state them.

    Raises:
        ValueError: If the name is unknown.
    """
    expect_choice("data set", name, _KNOWN)
    module, page, source, counts = _KNOWN[name]
    info = import_module(module).DOWNLOAD_INFO
    return Archive(name, info.url, info.hashsum, page, source, counts)


def download(name: DownloadName, root: Path) -> Path:
    """The folder of the complete data set, ready for ``--data.root``.

    Nothing is fetched if the folder is complete. An archive that lies in ``root`` already is used
    after its SHA-256 has been checked, and it stays there.

    Args:
        name: ``mvtec_ad`` (about 5 GB, CC BY-NC-SA 4.0) or ``visa`` (about 2 GB, CC BY 4.0).
        root: Folder for the archive and the data; made if it is not there.

    Raises:
        ConnectionError: If the owner's server cannot be reached, with what to do by hand.
        ValueError: If other data lies in ``root``, or the archive is not the owner's (it is
            deleted), holds a member that would leave ``root``, or unpacks to other counts.
    """
    archive = find_archive(name)
    if _what_is_missing(archive, root) is None:
        return root
    for category in archive.counts:
        if (root / category).exists():
            raise _not_ours(root, category)
    root.mkdir(parents=True, exist_ok=True)
    path = root / archive.file_name
    if not path.is_file():
        _fetch(archive, path)
    _expect_sha256(archive, path)
    _unpack(path, root)
    missing = _what_is_missing(archive, root)
    if missing is not None:
        raise ValueError(
            f"expected the owner's complete {archive.name} in {root} after unpacking {path}, "
            f"got {missing}; use an empty folder"
        )
    return root


def _not_ours(root: Path, name: str) -> ValueError:
    return ValueError(
        f"expected a folder without data or with the owner's complete data, got an incomplete or "
        f"other {root / name}; nothing was overwritten: move it away, or choose another folder"
    )


def _what_is_missing(archive: Archive, root: Path) -> str | None:
    """In what the folder differs from the owner's counts, None if in nothing."""
    module, _, class_name = archive.source.rpartition(".")
    source: DataSource = getattr(import_module(module), class_name)()
    try:
        found = owner_counts.count(source.list_samples(root, "all", seed=0))
    except (FileNotFoundError, ValueError) as error:
        return str(error)
    absent = sorted(set(archive.counts) - set(found))
    if absent:
        return f"no {', '.join(absent)}"
    return owner_counts.incomplete_note(found, archive.counts)


def _fetch(archive: Archive, path: Path) -> None:
    from tqdm import tqdm

    part = path.with_name(path.name + ".part")
    try:
        with urlopen(archive.url, timeout=_TIMEOUT_S) as answer, part.open("wb") as file:
            length = answer.headers.get("Content-Length")
            total = int(length) if length else None
            with tqdm(total=total, unit="B", unit_scale=True, desc=archive.name) as progress:
                while block := answer.read(_BLOCK_BYTES):
                    file.write(block)
                    progress.update(len(block))
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        part.unlink(missing_ok=True)
        raise ConnectionError(
            f"expected to fetch {archive.name} from {archive.url}, got no answer ({error}); fetch "
            f"{archive.file_name} by hand from {archive.page}, put it at {path} "
            f"(sha256 {archive.sha256}) and run this again"
        ) from error
    part.replace(path)


def _expect_sha256(archive: Archive, path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != archive.sha256:
        path.unlink()
        raise ValueError(
            f"expected sha256 {archive.sha256} for {path}, got {digest}; the file was incomplete "
            f"or not the owner's and is deleted now: run this again, or fetch it from "
            f"{archive.page}"
        )


def _unpack(path: Path, root: Path) -> None:
    """Unpack into a hidden folder, and move its top-level entries to ``root`` if all is well."""
    with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as name:
        folder = Path(name)
        _extract(path, folder)
        for entry in sorted(folder.iterdir()):
            if (root / entry.name).is_dir():
                raise _not_ours(root, entry.name)
            entry.replace(root / entry.name)


def _extract(path: Path, folder: Path) -> None:
    """Write the regular files of a tar archive below ``folder``; nothing else is ever made.

    Raises:
        ValueError: If a member is a link or device, leaves the folder, or there is too much.
    """
    num_bytes = 0
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                target = _safe_target(member, folder, path)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                num_bytes += member.size
                if num_bytes > _MAX_UNPACKED_BYTES:
                    raise ValueError(
                        f"expected at most {_MAX_UNPACKED_BYTES} bytes in {path}, got more; "
                        "the archive is not the owner's, delete it"
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file, _BLOCK_BYTES)
    except tarfile.TarError as error:
        raise ValueError(f"expected a tar archive at {path}, got {error}; delete it") from error


def _safe_target(member: tarfile.TarInfo, folder: Path, path: Path) -> Path:
    name = PurePosixPath(member.name)
    is_plain = member.isfile() or member.isdir()
    if not is_plain or name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise ValueError(
            f"expected only files and folders inside {path}, got the member {member.name!r}; "
            "the archive is not the owner's, delete it"
        )
    return folder / name
