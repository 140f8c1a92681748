"""Unpack an archive that a stranger made: bounded, plain files only, nothing outside the folder."""

import io
import tarfile
import zipfile
from pathlib import Path

from compliance.domain.uploads import MAX_MEMBERS, MAX_UNPACKED, archive_problem


class UnpackRefusedError(ValueError):
    """The archive is not unpacked, for the stated reason."""


def unpack(content: bytes, folder: Path) -> None:
    """Unpack a ZIP or tar archive into a folder. Raises UnpackRefusedError before anything leads out of it."""
    if content.startswith(b"PK"):
        problem = archive_problem(content)
        if problem:
            raise UnpackRefusedError(problem)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)  # noqa: S202 its members were judged  # nosec B202
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            _untar(tar, folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UnpackRefusedError(f"the archive cannot be read ({error})") from None


def _untar(tar: tarfile.TarFile, folder: Path) -> None:
    unpacked = 0
    for number, member in enumerate(tar):
        # Sizes are looked at while reading: a bomb is refused before it is written.
        unpacked += member.size
        if number >= MAX_MEMBERS or unpacked > MAX_UNPACKED:
            raise UnpackRefusedError("the archive holds too much")
        if member.isdir():
            continue
        if not member.isfile():
            raise UnpackRefusedError(f"{member.name} is not a plain file")
        tar.extract(member, folder, filter="data")
