"""Policy files as they stood at a revision of git."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from retention.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from retention.policy.model import Bundle


def bundle_at(folder: Path, revision: str | None) -> Bundle:
    """What the files of a folder said at a revision; None: what they say now.

    Raises UsageError where git does not know it, PolicyError where those files do not load.
    """
    if revision is None:
        return _loaded(folder, "")
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^0")
    if commit is None:
        raise UsageError(
            f"git knows no revision `{revision}` of these policies",
            hint="the policy folder must lie in a git repository; git log shows its revisions",
            code="revision-unknown",
        )
    archive = _git(folder, "archive", "--format=tar", commit.decode().strip(), ".")
    if archive is None:
        raise UsageError(f"the policy folder did not exist at `{revision}`", code="revision-empty")
    with tempfile.TemporaryDirectory(prefix="retention-diff-") as scratch:
        _unpack(archive, Path(scratch))
        return _loaded(Path(scratch), revision)


def _unpack(archive: bytes, scratch: Path) -> None:
    """Write the regular files of a tar below a folder; links and names that lead out are left.

    The standard library's own filters for this came with Python 3.11.4; Debian 12 has 3.11.2.
    """
    root = scratch.resolve()
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            target = (root / member.name).resolve()
            data = files.extractfile(member) if member.isreg() else None
            if data is None or not target.is_relative_to(root):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data.read())


def _loaded(folder: Path, revision: str) -> Bundle:
    from retention.policy.load import load

    loaded = load(folder)
    if loaded.bundle is None:
        first = loaded.errors[0]
        place = f"{Path(first.file).relative_to(folder)}:{first.line}:{first.col}"
        at = f" at {revision}" if revision else ""
        raise PolicyError(
            f"the policies{at} do not load: {first.message}",
            place=f"{revision}:{place}" if revision else place,
            hint=first.hint,
            code=first.code,
        )
    return loaded.bundle


def _git(folder: Path, *command: str) -> bytes | None:
    """What git answers in that folder; None where it refuses. Raises UsageError without git."""
    try:
        answer = subprocess.run(  # noqa: S603 -- no shell; revisions were resolved to a commit
            ("git", "-C", str(folder), *command),  # noqa: S607 -- git is where the user has it
            capture_output=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"git cannot be asked ({type(error).__name__})", hint="install git", code="git"
        ) from None
    return answer.stdout if answer.returncode == 0 else None
