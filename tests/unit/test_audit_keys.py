"""Key files: private, whole or absent, and never replaced."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retention.audit.checkpoint import SignerKey
from retention.audit.keys import KeyFolder, check_value
from retention.errors import AuditUnwritable

LOG = "example.org/retention/2026"


def test_keys_are_private_to_their_owner(tmp_path: Path) -> None:
    """Files 0600 in a folder 0700, whatever the umask is."""
    before = os.umask(0)
    try:
        folder = KeyFolder(tmp_path / "keys")
        folder.add_signer(LOG)
        folder.pseudonym_key(LOG, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    files = sorted(folder.path.iterdir())
    assert [f.name.rpartition("2026.")[2] for f in files] == ["1.seed", "pseudonym"]
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


def test_keys_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    """A key that others may have read proves nothing."""
    folder = KeyFolder(tmp_path / "keys")
    key = folder.add_signer(LOG).verifier
    (file,) = folder.path.iterdir()
    for path, mode in ((file, 0o640), (file, 0o604), (folder.path, 0o750)):
        good = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        with pytest.raises(AuditUnwritable, match="read by others"):
            folder.signer(key)
        path.chmod(good)
    assert folder.signer(key).verifier == key


def test_rotation_keeps_old_keys(tmp_path: Path) -> None:
    """Every key that ever signed stays usable, the newest last, beyond nine of them."""
    folder = KeyFolder(tmp_path / "keys")
    made = [folder.add_signer(LOG).verifier for _ in range(11)]
    folder.add_signer(f"{LOG}.2")
    assert [key.verifier for key in folder.signers(LOG)] == made
    assert folder.signer(made[0]).verifier == made[0]


def test_a_missing_key_is_an_error_not_a_new_key(tmp_path: Path) -> None:
    """A machine without the log's keys does not make its own: its evidence would be another's."""
    folder = KeyFolder(tmp_path / "keys")
    with pytest.raises(AuditUnwritable, match="does not hold"):
        folder.signer(SignerKey(LOG, bytes(32)).verifier)
    with pytest.raises(AuditUnwritable, match="does not hold"):
        folder.pseudonym_key(LOG, "00" * 8)
    assert list(folder.path.iterdir()) == []


def test_another_machines_pseudonym_key_is_refused(tmp_path: Path) -> None:
    """Two machines with different keys would give one record two pseudonyms."""
    here, there = KeyFolder(tmp_path / "a"), KeyFolder(tmp_path / "b")
    key = here.pseudonym_key(LOG, None)
    there.pseudonym_key(LOG, None)
    assert here.pseudonym_key(LOG, check_value(key)) == key
    with pytest.raises(AuditUnwritable, match="does not hold"):
        there.pseudonym_key(LOG, check_value(key))


def test_a_damaged_key_file_is_refused(tmp_path: Path) -> None:
    """A cut or empty key file is never taken for a key."""
    folder = KeyFolder(tmp_path / "keys")
    folder.pseudonym_key(LOG, None)
    (file,) = folder.path.iterdir()
    text = file.read_text()
    for damaged in ("", text[:20], text + "x", "é" + text):
        file.write_text(damaged, encoding="utf-8")
        with pytest.raises(AuditUnwritable, match="damaged"):
            folder.pseudonym_key(LOG, None)


def test_a_crash_while_making_a_key_leaves_no_half_key(tmp_path: Path) -> None:
    """A draft that a killed process left behind is not a key and is in nobody's way."""
    folder = KeyFolder(tmp_path / "keys")
    folder.path.mkdir(mode=0o700)
    (folder.path / ".0123456789abcdef.draft").write_text("AAAA")
    assert folder.signers(LOG) == []
    key = folder.add_signer(LOG).verifier
    assert [k.verifier for k in folder.signers(LOG)] == [key]


def test_many_makers_agree_on_one_key(tmp_path: Path) -> None:
    """Whoever comes first wins, and all others use that key."""
    folder = KeyFolder(tmp_path / "keys")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: folder.pseudonym_key(LOG, None), range(24)))
    assert len(keys) == 1
    assert [p.name for p in folder.path.iterdir()] == ["example.org%2Fretention%2F2026.pseudonym"]


def test_destroying_the_pseudonym_key_leaves_signing_keys(tmp_path: Path) -> None:
    """The links are cut; what was signed stays verifiable. Doing it twice is no error."""
    folder = KeyFolder(tmp_path / "keys")
    key = folder.add_signer(LOG).verifier
    folder.pseudonym_key(LOG, None)
    folder.destroy_pseudonym_key(LOG)
    folder.destroy_pseudonym_key(LOG)
    assert folder.signer(key).verifier == key
    assert len(list(folder.path.iterdir())) == 1


def test_a_folder_that_cannot_be_used_stops_the_act(tmp_path: Path) -> None:
    """A file in the folder's place is an unwritable log, exit code 13."""
    (tmp_path / "keys").write_text("")
    with pytest.raises(AuditUnwritable):
        KeyFolder(tmp_path / "keys").add_signer(LOG)
