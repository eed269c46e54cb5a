"""Workbooks that need a password: decrypted into nameless files, never beside the original."""

from __future__ import annotations

from typing import BinaryIO

from msoffcrypto import OfficeFile
from msoffcrypto.exceptions import DecryptionError, FileFormatError, InvalidKeyError
from msoffcrypto.format.ooxml import OOXMLFile

from retention.connectors.spreadsheet.private import private_file
from retention.errors import CredentialsRefused, PermanentFailure

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""First bytes of an encrypted workbook, and of an old .xls."""
_CHUNK = 1 << 20


def is_container(file: BinaryIO) -> bool:
    """Whether a file is an OLE container. Leaves the position at the start."""
    file.seek(0)
    start = file.read(8)
    file.seek(0)
    return start == OLE


def decrypted(file: BinaryIO, password: str | None, place: str) -> BinaryIO:
    """The plain package, in a nameless file. Raises CredentialsRefused or PermanentFailure."""
    out = private_file(file.seek(0, 2))
    try:
        office = OfficeFile(file)
        if not isinstance(office, OOXMLFile) or not office.is_encrypted():
            raise PermanentFailure(
                "the file is in the old .xls form",
                hint="save it as an Excel workbook (.xlsx)",
                place=place,
                code="xls",
            )
        if password is None:
            raise CredentialsRefused(
                "the workbook needs a password",
                hint="name where it lies: `password: {env: NAME}`",
                place=place,
                code="password_missing",
            )
        office.load_key(password=password, verify_password=True)
        office.decrypt(out)
    except (InvalidKeyError, DecryptionError) as error:
        out.close()
        raise CredentialsRefused(
            "the workbook does not open with this password", place=place, code="password_wrong"
        ) from error
    except FileFormatError as error:
        out.close()
        raise PermanentFailure(
            "the file is not a workbook",
            hint="an old .xls must be saved as .xlsx first",
            place=place,
            code="not_a_workbook",
        ) from error
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


def encrypt(plain: BinaryIO, password: str, out: BinaryIO, place: str) -> None:
    """Encrypt into `out`, and prove it: it is encrypted, and decrypts to the same bytes."""
    plain.seek(0)
    OOXMLFile(plain).encrypt(password, out)
    out.flush()
    if not is_container(out):
        raise _not_proved(place)
    with decrypted(out, password, place) as again:
        plain.seek(0)
        while chunk := plain.read(_CHUNK):
            if again.read(len(chunk)) != chunk:
                raise _not_proved(place)
        if again.read(1):
            raise _not_proved(place)


def _not_proved(place: str) -> PermanentFailure:
    return PermanentFailure(
        "the new file could not be encrypted so that it opens again; the old one was kept",
        place=place,
        code="not_encrypted",
    )
