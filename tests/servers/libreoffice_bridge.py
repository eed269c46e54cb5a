"""Runs under the Python that knows LibreOffice's UNO: orders in, answers out, one JSON line each.

Nothing of ours is imported here: what LibreOffice does with a workbook is its own word.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import uno
from com.sun.star.beans import PropertyValue


def main(port: str) -> None:
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext(
        "com.sun.star.bridge.UnoUrlResolver", local
    )
    context = resolver.resolve(
        f"uno:socket,host=127.0.0.1,port={port};urp;StarOffice.ComponentContext"
    )
    desktop = context.ServiceManager.createInstanceWithContext(
        "com.sun.star.frame.Desktop", context
    )
    open_: dict[int, Any] = {}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"ok": obey(desktop, open_, **order)}
        except Exception as error:  # noqa: BLE001 - whatever LibreOffice raises is the answer
            answer = {"error": repr(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def obey(desktop: Any, open_: dict[int, Any], do: str, **said: Any) -> Any:
    if do == "open":
        number = max(open_, default=0) + 1
        open_[number] = opened(desktop, said.get("path"), said.get("password"))
        return number
    document = open_[said["doc"]]
    if do == "close":
        open_.pop(said["doc"]).close(True)
        return None
    if do == "save":
        document.calculateAll()
        url = uno.systemPathToFileUrl(said["path"])
        options = [named("FilterName", said["filter"])]
        if said.get("password") is not None:
            options.append(named("Password", said["password"]))
        document.storeToURL(url, tuple(options))
        return None
    sheets = document.Sheets
    if do == "sheets":
        while sheets.Count < len(said["names"]):
            sheets.insertNewByName(f"new{sheets.Count}", sheets.Count)
        for at, name in enumerate(said["names"]):
            sheets.getByIndex(at).Name = name
        return None
    sheet = sheets.getByName(said["sheet"])
    if do == "delete":
        for first, count in said["runs"]:
            sheet.Rows.removeByIndex(first - 1, count)
        return None
    area = sheet.getCellRangeByName(said["area"])
    if do == "put":
        area.setFormulaArray(tuple(tuple(row) for row in said["rows"]))
        return None
    if do == "get":
        return [list(row) for row in area.getFormulaArray()]
    raise ValueError(do)


def opened(desktop: Any, path: str | None, password: str | None) -> Any:
    url = uno.systemPathToFileUrl(path) if path else "private:factory/scalc"
    options = [named("Hidden", True)]
    if password is not None:
        options.append(named("Password", password))
    document = desktop.loadComponentFromURL(url, "_blank", 0, tuple(options))
    if document is None:
        raise ValueError("LibreOffice did not open the file")
    return document


def named(name: str, value: Any) -> Any:
    out = PropertyValue()
    out.Name, out.Value = name, value
    return out


if __name__ == "__main__":
    main(sys.argv[1])
