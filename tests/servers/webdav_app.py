"""The program behind `tests.servers.webdav`: wsgidav, with a model of Nextcloud's bin and versions.

Run as a script: `python webdav_app.py FOLDER PORT`. `FOLDER/control.json` is read at each request
and says what shall go wrong:

    deny   true: 403 for everything below /files and /remote.php/dav/files
    slow   {METHOD: seconds}: carried out, but the answer comes late
    status {METHOD: code}: answered so, not carried out
    answer {METHOD: text}: a 207 with this text
    bin    {"skip": false}: does not know X-NC-Skip-Trashbin; {"status": 403}: purging is refused
    numbers false: no file has an `oc:fileid`
    versions {"keep": true}: old versions outlive the bin; {"status": 403}: cannot be deleted
    ignore_if_match  true: preconditions are passed over
"""

from __future__ import annotations

import json
import logging
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cheroot import wsgi
from wsgidav.dav_error import HTTP_FORBIDDEN, DAVError
from wsgidav.fs_dav_provider import FileResource, FilesystemProvider, FolderResource
from wsgidav.wsgidav_app import WsgiDAVApp

OC, NC = "{http://owncloud.org/ns}", "{http://nextcloud.org/ns}"
USER, PASSWORD = "anna", "correct horse battery"
ROOT = Path(sys.argv[1])
FILES, TRASH, VERSIONS = (ROOT / name for name in ("files", "trash", "versions"))
INDEX: dict[str, dict[str, Any]] = {}
"""What lies in the bin: name there → place before, and when it was deleted."""
KEPT: set[str] = set()


def control() -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads((ROOT / "control.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return loaded


class CloudFile(FileResource):
    """A file of the account: it has a number, and goes to the bin."""

    def _number(self) -> str:
        # An inode stays the same when a file moves to the bin, as Nextcloud's numbers do.
        return str(Path(self._file_path).stat().st_ino)

    def get_property_value(self, name: str) -> Any:
        if name == f"{OC}fileid" and control().get("numbers", True):
            return self._number()
        if name == f"{OC}permissions":
            return "SRGDNVW" if "/shared/" in self.path else "RGDNVW"
        return super().get_property_value(name)

    def begin_write(self, *, content_type: str | None = None) -> Any:
        if self.get_content_length():
            kept = VERSIONS / self._number()
            kept.mkdir(exist_ok=True)
            shutil.copy2(self._file_path, kept / str(time.time_ns()))
        return super().begin_write(content_type=content_type)

    def delete(self) -> None:
        skip = self.environ.get("HTTP_X_NC_SKIP_TRASHBIN") == "true"
        if skip and control().get("bin", {}).get("skip", True):
            _forget_versions(self._number())
            super().delete()
            return
        _to_bin(Path(self._file_path))
        self.remove_all_properties(recursive=True)
        self.remove_all_locks(recursive=True)


class CloudFolder(FolderResource):
    """A folder of the account: it goes to the bin with all that it holds."""

    def get_property_value(self, name: str) -> Any:
        if name == f"{OC}fileid":
            return str(Path(self._file_path).stat().st_ino)
        if name == f"{OC}permissions":
            return "SRGDNVCK" if "/shared" in self.path else "RGDNVCK"
        return super().get_property_value(name)

    def handle_delete(self) -> bool:
        _to_bin(Path(self._file_path))
        return True


class BinFile(FileResource):
    """A deleted file: Nextcloud shows the deletion as its date, and a tag made of that."""

    def get_etag(self) -> str:
        return str(_item(self._file_path)["deleted"])

    def get_last_modified(self) -> int:
        return int(_item(self._file_path)["deleted"])

    def get_property_value(self, name: str) -> Any:
        told = _told(self._file_path, name)
        return told if told is not None else super().get_property_value(name)

    def delete(self) -> None:
        if control().get("bin", {}).get("status"):
            raise DAVError(HTTP_FORBIDDEN)
        path = Path(self._file_path)
        _forget_versions(str(path.stat().st_ino))
        path.unlink()
        INDEX.pop(path.name, None)


class BinFolder(FolderResource):
    """A deleted folder, or the bin itself."""

    def get_property_value(self, name: str) -> Any:
        if Path(self._file_path) != TRASH and (told := _told(self._file_path, name)) is not None:
            return told
        return super().get_property_value(name)


class VersionFile(FileResource):
    """A former content."""

    def delete(self) -> None:
        if control().get("versions", {}).get("status"):
            raise DAVError(HTTP_FORBIDDEN)
        Path(self._file_path).unlink()


class Provider(FilesystemProvider):
    """A provider with its own kinds of files and folders."""

    kinds: tuple[type[FileResource], type[FolderResource]] = (FileResource, FolderResource)

    def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Any:
        self._count_get_resource_inst += 1
        where = self._loc_to_file_path(path, environ)
        try:
            mode = Path(where).stat().st_mode
        except (OSError, ValueError):
            return None
        file, folder = self.kinds
        return folder(path, environ, where) if stat.S_ISDIR(mode) else file(path, environ, where)


class Cloud(Provider):
    kinds = (CloudFile, CloudFolder)


class CloudBin(Provider):
    kinds = (BinFile, BinFolder)


class CloudVersions(Provider):
    kinds = (VersionFile, FolderResource)


def _to_bin(path: Path) -> None:
    deleted = int(time.time())
    while (TRASH / f"{path.name}.d{deleted}").exists():
        deleted += 1
    name = f"{path.name}.d{deleted}"
    INDEX[name] = {"place": str(path.relative_to(FILES)), "deleted": deleted}
    path.rename(TRASH / name)


def _item(path: str) -> dict[str, Any]:
    return INDEX[Path(path).relative_to(TRASH).parts[0]]


def _told(path: str, name: str) -> str | None:
    item, below = _item(path), Path(path).relative_to(TRASH).parts[1:]
    number = str(Path(path).stat().st_ino) if control().get("numbers", True) else ""
    return {
        f"{NC}trashbin-original-location": "/".join((item["place"], *below)),
        f"{NC}trashbin-deletion-time": str(item["deleted"]),
        f"{OC}fileid": number,
    }.get(name)


def _forget_versions(number: str) -> None:
    if control().get("versions", {}).get("keep"):
        KEPT.add(number)
    else:
        shutil.rmtree(VERSIONS / number, ignore_errors=True)


def _hidden(path: str) -> bool:
    """Versions can be asked for only while their file is there (or where they are kept)."""
    number = path.removeprefix("/remote.php/dav/versions/anna/versions").strip("/").split("/")[0]
    live = number in KEPT or any(str(f.stat().st_ino) == number for f in FILES.rglob("*"))
    return bool(number) and not live


Start = Callable[..., Any]


class Faults:
    """Around the server: what `control.json` asks for."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        said, method, path = control(), environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with (ROOT / "requests").open("a", encoding="utf-8") as log:
            log.write(json.dumps([method, quote(path.encode("latin-1"))]) + "\n")
        if said.get("deny") and "/files" in path:
            return _plain(start, "403 Forbidden")
        if code := said.get("status", {}).get(method):
            where = said.get("where", "")
            if where in path:
                return _plain(start, f"{code} Told so", said.get("headers", []))
        if text := said.get("answer", {}).get(method):
            start("207 Multi-Status", [("Content-Type", "application/xml")])
            return [text.encode()]
        if said.get("ignore_if_match"):
            environ.pop("HTTP_IF_MATCH", None)
        if "/versions/anna/" in path and _hidden(path):
            return _plain(start, "404 Not Found")
        answer = list(self.inner(environ, start))
        if seconds := said.get("slow", {}).get(method):
            time.sleep(seconds)
        return answer


def _plain(start: Start, status: str, headers: Iterable[Iterable[str]] = ()) -> list[bytes]:
    start(status, [("Content-Length", "0"), *[tuple(h) for h in headers]])
    return []


def main() -> None:
    logging.disable(logging.CRITICAL)
    for folder in (FILES, TRASH, VERSIONS):
        folder.mkdir(exist_ok=True)
    app = WsgiDAVApp(
        {
            "provider_mapping": {
                "/files": Provider(str(FILES)),
                "/remote.php/dav/files/anna": Cloud(str(FILES)),
                "/remote.php/dav/trashbin/anna/trash": CloudBin(str(TRASH)),
                "/remote.php/dav/versions/anna/versions": CloudVersions(str(VERSIONS)),
            },
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {
                "accept_basic": True,
                "accept_digest": False,
                "default_to_digest": False,
            },
            "property_manager": True,
            "lock_storage": True,
            "verbose": 0,
            "logging": {"enable": False},
            "dir_browser": {"enable": False},
        }
    )
    server = wsgi.Server(("127.0.0.1", int(sys.argv[2])), Faults(app), numthreads=8)
    server.shutdown_timeout = 1
    server.start()


if __name__ == "__main__":
    main()
