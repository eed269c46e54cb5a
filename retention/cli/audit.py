"""audit: reading, checking and exporting the evidence. Works whatever the policies say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retention.cli import opening
from retention.cli.app import App, Json
from retention.cli.output import count, put, put_json, say, table
from retention.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator


def register(app: App) -> None:
    """Add the group."""
    group = App(name="audit", help="The audit log: tamper-evident, without personal data.")
    group.command("list")(list_)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("export")(export)
    group.command("proof")(proof)
    group.command("checkpoint")(checkpoint)
    app.add_typer(group)


def list_(
    kind: Annotated[
        str | None, typer.Option("--type", metavar="T", help="Only these, e.g. batch.done.")
    ] = None,
    policy: Annotated[str | None, typer.Option(metavar="P", help="Only of this policy.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="D", help="Only from then on; a date begins at 00:00 UTC.")
    ] = None,
    json: Json = False,
) -> None:
    """Print entries, the oldest first; with --json the exact lines of the log."""
    from datetime import UTC

    from retention.cli.dates import instant_of

    start = instant_of(since, UTC) if since is not None else None
    with opening.log() as log:
        lines = log.query(type=kind, policy=policy, since=start)
        if json:
            for line in lines:
                put(line.decode("utf-8", "backslashreplace"))
            return
        number = table(("seq", "at", "type", "actor", "policy", "what"), _rows(lines))
    say(f"{count(number, 'entry')} · times in UTC")


def _rows(lines: Iterator[bytes]) -> Iterator[tuple[str, ...]]:
    import json

    shown = {"v", "seq", "at", "type", "actor", "policy", "digest"}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            # Somebody changed the database; `verify` says so, and listing must still go on.
            yield ("?", "", "not an entry: retention audit verify", "", "", "")
            continue
        facts = (f"{k}={_short(v)}" for k, v in entry.items() if k not in shown)
        yield (
            str(entry.get("seq")),
            str(entry.get("at")),
            str(entry.get("type")),
            str(entry.get("actor")),
            str(entry.get("policy", "")),
            " ".join(facts),
        )


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{k}:{v}" for k, v in value.items())
    if isinstance(value, list):
        return f"[{len(value)}]" if len(value) > 3 else "; ".join(map(str, value))
    return str(value)


def show(
    seq: Annotated[int, typer.Argument(metavar="SEQ", help="Number of the entry.", min=0)],
    name: Annotated[
        str | None, typer.Option("--log", metavar="NAME", help="Default: the newest log.")
    ] = None,
    json: Json = False,
) -> None:
    """Print one entry; with --json its exact line."""
    import json as codec

    with opening.log() as log:
        found = log.entry(seq, log=name)
    text = found.line.decode("utf-8", "backslashreplace")
    put(text if json else codec.dumps(codec.loads(text), ensure_ascii=False, indent=2))


def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="An export; default: the log in the ledger."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="CHECKPOINT", help="A checkpoint that was kept elsewhere."),
    ] = None,
    vkey: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Verifier keys that were got elsewhere.")
    ] = None,
    json: Json = False,
) -> int:
    """Check every entry against the signed checkpoints; 1 if anything does not fit."""
    from retention.audit.verify import verify_folder, verify_ledger
    from retention.errors import UsageError

    for path in (against, vkey):
        if path is not None and not path.is_file():
            raise UsageError(f"there is no file {path}", code="file-missing")
    if folder is not None:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}", code="folder-missing")
        report = verify_folder(folder, against, vkey)
    elif vkey is not None:
        raise UsageError("--vkey is for exports: name the folder", code="usage")
    else:
        with opening.log() as log:
            report = verify_ledger(log, against)
    if json:
        put_json(report.as_json())
    else:
        for problem in report.problems:
            put(problem)
        entries = count(report.size, "entry")
        put(
            f"{'ok' if report.ok else 'NOT OK'}: {entries}, root {report.root}"
            + ("" if against else "; a log signed anew shows only --against an older checkpoint")
        )
    return ExitCode.OK if report.ok else ExitCode.CHECK_FAILED


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Empty, or an earlier export.")],
) -> None:
    """Write the log, its checkpoints and keys as files that other tools verify."""
    with opening.log() as log:
        _there(log.logs())
        log.export(folder, opening.now())
    say(f"exported to {folder}; README.txt there says how to verify it without us")


def proof(
    seq: Annotated[
        int | None, typer.Argument(metavar="SEQ", help="Number of an entry.", min=0)
    ] = None,
    record: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="LOCATION KEY", help="Every entry on this record."),
    ] = None,
    json: Json = False,  # noqa: ARG001 -- a proof is JSON in any case; scripts may say so
) -> int:
    """Prove that an entry, or every entry on a record, is in the log; JSON."""
    from retention.audit.proof import proof_for_seq, proofs_for
    from retention.errors import UsageError

    if (seq is None) == (record is None):
        raise UsageError("name an entry, or --record LOCATION KEY", code="usage")
    if record is None:
        with opening.log() as log:
            _there(log.logs())
            log.checkpoint(opening.now())
            put(proof_for_seq(log, seq or 0).proof.text.rstrip("\n"))
        return ExitCode.OK
    location, key = record
    with opening.home() as home:
        from retention.cli.scopes import bundles

        log = home.ctx.log
        systems = {
            bundle.location(location).system
            for bundle in bundles(home)
            if location in bundle.locations()
        }
        if not systems:
            raise UsageError(f"there is no location `{location}`", code="location-unknown")
        log.checkpoint(home.ctx.clock.now())
        found = [f for system in sorted(systems) for f in log.find_key(system, location, key)]
        put_json([p.as_json() for p in proofs_for(log, found)])
    say(f"{count(len(found), 'entry')} on this record")
    return ExitCode.OK if found else ExitCode.CHECK_FAILED


def checkpoint(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F", help="Write it there, to keep elsewhere.")
    ] = None,
) -> None:
    """Sign the log as it is, and print the note."""
    import sys

    with opening.log() as log:
        _there(log.logs())
        note = log.checkpoint(opening.now())
    if out is None:
        sys.stdout.write(note)
    else:
        out.write_text(note, encoding="utf-8")
        say(f"written to {out}: keep a copy where this machine cannot change it")


def _there(logs: object) -> None:
    from retention.errors import UsageError

    if not logs:
        raise UsageError(
            "there is no audit log yet",
            hint="check RETENTION_HOME and RETENTION_DATABASE_URL; the first plan opens one",
            code="log-missing",
        )
