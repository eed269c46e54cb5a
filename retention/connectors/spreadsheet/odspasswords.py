"""Password-protected OpenDocument files (OpenDocument 1.3 part 2, chapter 4): each part by itself.

What LibreOffice writes since 3.4 is read and written: AES-256-CBC, a key by PBKDF2 from the SHA-256
of the password. The one encrypted package of newer versions (Argon2id) and the Blowfish of old ones
are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from lxml import etree

from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.private import private_file
from retention.connectors.spreadsheet.xmltext import parse
from retention.errors import CredentialsRefused, PermanentFailure

MANIFEST_PART = "META-INF/manifest.xml"
_NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
_AES256 = "http://www.w3.org/2001/04/xmlenc#aes256-cbc"
_SHA256 = ("http://www.w3.org/2000/09/xmldsig#sha256", "http://www.w3.org/2001/04/xmlenc#sha256")
_SHA256_1K = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0#sha256-1k"
_MAX_PART = 1 << 30
_MAX_ITERATIONS = 10_000_000
_ITERATIONS = 100_000
_BLOCK = 16
_CHAFF = re.compile(rb"\A(<\?xml[^>]*\?>\s*)<!--[A-Za-z0-9+/=]*-->")
"""A comment of random text, by which LibreOffice keeps the beginning of a part from being known."""
_ENTRY = re.compile(rb"(<manifest:file-entry\b)([^>]*?)\s*(/?)>")
_ENCRYPTION = re.compile(
    rb"\s*<manifest:encryption-data\b.*?</manifest:encryption-data>\s*", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Sealed:
    """How one part is encrypted."""

    size: int
    checksum: bytes
    vector: bytes
    salt: bytes
    iterations: int


def is_sealed(package: Package) -> bool:
    """Whether any part is encrypted."""
    return MANIFEST_PART in package.names and b"encryption-data" in package.read(MANIFEST_PART)


def unsealed(file: BinaryIO, package: Package, password: str | None, place: str) -> BinaryIO:
    """The plain package, in a nameless file. Raises CredentialsRefused or PermanentFailure."""
    if password is None:
        raise CredentialsRefused(
            "the document needs a password",
            hint="name where it lies: `password: {env: NAME}`",
            place=place,
            code="password_missing",
        )
    manifest = package.read(MANIFEST_PART)
    parts = _sealed_parts(manifest)
    out = private_file(file.seek(0, 2) * 4)
    try:
        key = _Keys(password)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as target:
            for info in package.zip.infolist():
                data = package.zip.read(info)
                if info.filename == MANIFEST_PART:
                    data = _plain_manifest(manifest)
                elif sealed := parts.get(info.filename):
                    data = _CHAFF.sub(b"\\1", _opened(data, sealed, key, place), count=1)
                fresh = zipfile.ZipInfo(info.filename, info.date_time)
                stored = info.filename == "mimetype" or info.is_dir()
                fresh.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                fresh.external_attr = info.external_attr
                target.writestr(fresh, data)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return out


def seal(plain: BinaryIO, password: str, out: BinaryIO, place: str) -> None:
    """Encrypt into `out`, and prove it: no part is readable, and all decrypt to the same bytes."""
    plain.seek(0)
    source = Package(plain)
    sealed: dict[str, tuple[Sealed, bytes]] = {}
    keys = _Keys(password)
    salt = secrets.token_bytes(_BLOCK)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as target:
        for info in source.zip.infolist():
            name = info.filename
            if name == MANIFEST_PART:
                continue
            data = source.zip.read(info)
            if name != "mimetype" and not info.is_dir() and not name.startswith("META-INF/"):
                said, data = _closed(_with_chaff(data), salt, keys)
                sealed[name] = (said, data)
            fresh = zipfile.ZipInfo(name, info.date_time)
            fresh.external_attr = info.external_attr
            target.writestr(fresh, data)
            if name in sealed:
                sealed[name] = (sealed[name][0], b"")
        manifest = _sealed_manifest(
            source.read(MANIFEST_PART), {k: v[0] for k, v in sealed.items()}
        )
        target.writestr(zipfile.ZipInfo(MANIFEST_PART), manifest)
    source.close()
    out.flush()
    _prove(plain, out, password, place)


def _prove(plain: BinaryIO, out: BinaryIO, password: str, place: str) -> None:
    written = Package(out)
    before = Package(plain)
    if not is_sealed(written):
        raise _not_proved(place)
    with unsealed(out, written, password, place) as again:
        after = Package(again)
        listed = _sealed_parts(written.read(MANIFEST_PART))
        for name in before.names - {MANIFEST_PART}:
            bare = name in listed or name == "mimetype" or name.endswith("/")
            if not (bare or name.startswith("META-INF/")):
                raise _not_proved(place)
            if after.zip.read(name) != before.zip.read(name):
                raise _not_proved(place)
        if after.names != before.names:
            raise _not_proved(place)
    written.close()
    before.close()


def _not_proved(place: str) -> PermanentFailure:
    return PermanentFailure(
        "the new file could not be encrypted so that it opens again; the old one was kept",
        place=place,
        code="not_encrypted",
    )


class _Keys:
    """Keys from one password; deriving one takes a tenth of a second on purpose."""

    def __init__(self, password: str) -> None:
        self._start = hashlib.sha256(password.encode()).digest()
        self._made: dict[tuple[bytes, int], bytes] = {}

    def of(self, salt: bytes, iterations: int) -> bytes:
        made = self._made.get((salt, iterations))
        if made is None:
            made = hashlib.pbkdf2_hmac("sha1", self._start, salt, iterations, 32)
            self._made[salt, iterations] = made
        return made


def _opened(data: bytes, sealed: Sealed, keys: _Keys, place: str) -> bytes:
    wrong = CredentialsRefused(
        "the document does not open with this password", place=place, code="password_wrong"
    )
    if not data or len(data) % _BLOCK:
        raise _damaged(place)
    cipher = Cipher(
        algorithms.AES(keys.of(sealed.salt, sealed.iterations)), modes.CBC(sealed.vector)
    ).decryptor()
    deflated = cipher.update(data) + cipher.finalize()
    pad = deflated[-1]
    if not 1 <= pad <= _BLOCK:
        raise wrong
    deflated = deflated[:-pad]
    if hashlib.sha256(deflated[:1024]).digest() != sealed.checksum:
        raise wrong
    try:
        inflater = zlib.decompressobj(-15)
        plain = inflater.decompress(deflated, sealed.size + 1)
    except zlib.error as error:
        raise _damaged(place) from error
    if len(plain) != sealed.size:
        raise _damaged(place)
    return plain


def _damaged(place: str) -> PermanentFailure:
    return PermanentFailure("an encrypted part is damaged", place=place, code="damaged")


def _with_chaff(data: bytes) -> bytes:
    chaff = base64.b64encode(secrets.token_bytes(256 + secrets.randbelow(1024)))
    declared = re.compile(rb"\A<\?xml[^>]*\?>\s*")
    return declared.sub(lambda m: b"%b<!--%b-->" % (m[0], chaff), data, count=1)


def _closed(data: bytes, salt: bytes, keys: _Keys) -> tuple[Sealed, bytes]:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = deflater.compress(data) + deflater.flush()
    vector = secrets.token_bytes(_BLOCK)
    checksum = hashlib.sha256(deflated[:1024]).digest()
    pad = _BLOCK - len(deflated) % _BLOCK
    padded = deflated + secrets.token_bytes(pad - 1) + bytes([pad])
    cipher = Cipher(algorithms.AES(keys.of(salt, _ITERATIONS)), modes.CBC(vector)).encryptor()
    closed = cipher.update(padded) + cipher.finalize()
    return Sealed(len(data), checksum, vector, salt, _ITERATIONS), closed


def _sealed_parts(manifest: bytes) -> dict[str, Sealed]:
    root = parse(manifest, MANIFEST_PART)
    out: dict[str, Sealed] = {}
    for entry in root.iter(f"{{{_NAMESPACE}}}file-entry"):
        data = entry.find(f"{{{_NAMESPACE}}}encryption-data")
        if data is not None:
            path = entry.get(f"{{{_NAMESPACE}}}full-path", "")
            out[path] = _sealed(entry, data)
    return out


def _sealed(entry: etree._Element, data: etree._Element) -> Sealed:
    def said(element: etree._Element | None, name: str) -> str:
        return "" if element is None else element.get(f"{{{_NAMESPACE}}}{name}", "")

    algorithm = data.find(f"{{{_NAMESPACE}}}algorithm")
    derived = data.find(f"{{{_NAMESPACE}}}key-derivation")
    start = data.find(f"{{{_NAMESPACE}}}start-key-generation")
    usual = (
        said(algorithm, "algorithm-name") == _AES256
        and said(derived, "key-derivation-name").rpartition("#")[2].upper() == "PBKDF2"
        and said(derived, "key-size") == "32"
        and said(start, "start-key-generation-name") in _SHA256
        and said(data, "checksum-type") == _SHA256_1K
    )
    try:
        found = Sealed(
            int(said(entry, "size")),
            base64.b64decode(said(data, "checksum"), validate=True),
            base64.b64decode(said(algorithm, "initialisation-vector"), validate=True),
            base64.b64decode(said(derived, "salt"), validate=True),
            int(said(derived, "iteration-count") or "0"),
        )
    except (ValueError, binascii.Error):
        usual = False
    if not usual or len(found.vector) != _BLOCK:
        raise PermanentFailure(
            "the document is encrypted in a form that is not read here",
            hint="save it from LibreOffice with the file format version ODF 1.3, not extended, "
            "or as .xlsx with a password",
            code="encryption_form",
        )
    if not 0 <= found.size <= _MAX_PART or not 1 <= found.iterations <= _MAX_ITERATIONS:
        raise PermanentFailure("the file is refused: a part is too large", code="unsafe_package")
    return found


def _plain_manifest(manifest: bytes) -> bytes:
    """The manifest as of a document without a password."""
    bare = _ENCRYPTION.sub(b"", manifest)
    return re.sub(rb'\smanifest:size="\d+"(?=[^>]*>)', b"", bare)


def _sealed_manifest(manifest: bytes, parts: dict[str, Sealed]) -> bytes:
    """The manifest with what is needed to decrypt each part. Raises PermanentFailure."""
    left = dict(parts)
    write = _writer(left)
    text = _ENTRY.sub(write, manifest)
    # A part that the manifest does not name could not be decrypted by anybody.
    more = b"".join(
        b'<manifest:file-entry manifest:full-path=%b manifest:media-type="" manifest:size="%d">%b'
        b"</manifest:file-entry>" % (quoteattr(name).encode(), said.size, _encryption(said))
        for name, said in left.items()
    )
    return text.replace(b"</manifest:manifest>", more + b"</manifest:manifest>")


def _writer(left: dict[str, Sealed]) -> Callable[[re.Match[bytes]], bytes]:
    def entry(match: re.Match[bytes]) -> bytes:
        element = etree.fromstring(
            b'<r xmlns:manifest="%b" xmlns:loext="urn:x">%b%b/></r>'
            % (_NAMESPACE.encode(), match[1], match[2])
        )[0]
        said = left.pop(element.get(f"{{{_NAMESPACE}}}full-path", ""), None)
        if said is None:
            return match[0]
        end = b"" if not match[3] else b"</manifest:file-entry>"
        return b'%b%b manifest:size="%d">%b%b' % (
            match[1],
            match[2],
            said.size,
            _encryption(said),
            end,
        )

    return entry


def _encryption(said: Sealed) -> bytes:
    def text(raw: bytes) -> bytes:
        return base64.b64encode(raw)

    return (
        b'<manifest:encryption-data manifest:checksum-type="%b" manifest:checksum="%b">'
        b'<manifest:algorithm manifest:algorithm-name="%b" manifest:initialisation-vector="%b"/>'
        b'<manifest:start-key-generation manifest:start-key-generation-name="%b" '
        b'manifest:key-size="32"/>'
        b'<manifest:key-derivation manifest:key-derivation-name="PBKDF2" manifest:key-size="32" '
        b'manifest:iteration-count="%d" manifest:salt="%b"/></manifest:encryption-data>'
        % (
            _SHA256_1K.encode(),
            text(said.checksum),
            _AES256.encode(),
            text(said.vector),
            _SHA256[0].encode(),
            said.iterations,
            text(said.salt),
        )
    )
