"""`retention demo`: the whole story of four policies on sample data, with no server beside it.

Every step calls what the command of that step calls; only the printing is its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from retention.cli.demo_data import looking, people
from retention.cli.demo_data.folder import prepare
from retention.cli.demo_data.telling import Teller
from retention.clock import Clock, SystemClock
from retention.errors import RetentionError

if TYPE_CHECKING:
    from retention.audit.verify import Report as Checked
    from retention.run.home import Home
    from retention.run.plan import Planned
    from retention.run.report import Report

FOLDER = Path("build/demo")
ZONE = "Europe/Oslo"
ACTOR = "user:demo"
POLICIES = (
    "contact-form-monthly",
    "mail-quarterly",
    "bookkeeping-five-years",
    "newsletter-consent",
)


def demo(folder: Path = FOLDER, *, clock: Clock | None = None) -> None:
    """Tell the story in `folder`, which is made anew; what it leaves there is whole and in order.

    Raises UsageError where something else lies there, RetentionError where the story does not
    go as it must.
    """
    clock = clock or SystemClock()
    Story(folder, clock).tell()


class Story:
    """One telling. Each step opens the home as a command of its own would."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock
        self.data = folder / "data"
        self.kept = folder / "checkpoint-kept-elsewhere"
        self.out = Teller()

    def tell(self) -> None:
        """All steps in order."""
        from retention.policy.counting import zone_of

        prepare(self.folder, self.clock.now().astimezone(zone_of(ZONE)))
        self.out.say(f"All of this happens in {self.folder}, which starts anew each time.")
        before = looking.counts(self.data)
        self.promises()
        self.plan()
        self.hold()
        self.approve()
        self.dispose()
        self.look_again(before)
        self.withdraw()
        self.evidence()
        self.tamper()
        self.end()

    # --- steps --------------------------------------------------------------------------------

    def promises(self) -> None:
        """The policy files, checked."""
        from retention.run.home import examine, unusable

        self.out.step(
            "Promises become files",
            "Four sentences of a privacy statement, written as policies, checked before they act.",
            "retention validate",
        )
        found = examine(self.folder / "policies", self.clock.now())
        if found.errors or found.bundle is None:
            raise unusable(found)
        self.out.table(
            ("policy", "promise", "runs"),
            (
                (name, found.bundle.policies[name].title or "", found.jobs[name].cron or "on event")
                for name in POLICIES
            ),
        )
        for finding in found.findings:
            self.out.say(f"{finding.severity}: {finding.message} [{finding.code}]")

    def plan(self) -> None:
        """Every record with its fate and its reasons; nothing is deleted."""
        self.out.step(
            "What would happen, and why",
            "Every record gets a verdict with its dates. Planning deletes nothing.",
            "retention plan --all",
        )
        with self.opened() as home:
            self.out.plan(
                item for item in _planned(home, POLICIES[:3]) if item.verdict.action != "keep"
            )
            self.out.say("Kept, for example:")
            self.out.plan(_first_kept(_planned(home, POLICIES)))

    def hold(self) -> None:
        """A dispute: nothing that concerns this person may go."""
        from retention.run.orders import add_hold
        from retention.subjects.holds import Scope

        who = people.SUED
        review = self.clock.now() + timedelta(days=180)
        case = f"{self.clock.now().year}-017"
        self.out.step(
            "A hold protects",
            f"{who.name} disputes an invoice. Whatever is about him stays until the case is over, "
            "although his mail is due.",
            f"retention hold add --case {case} --subject {who.email} \\\n"
            f'     --reason "disputed invoice" --owner office --review-by {review:%Y-%m-%d}',
        )
        with self.opened() as home:
            add_hold(
                home.ctx,
                Scope(subject=home.ctx.hasher.subject("email", who.email)),
                case=case,
                reason="disputed invoice",
                owner="office",
                review_by=review,
            )
            self.out.plan(
                item
                for item in _planned(home, ("mail-quarterly",))
                if item.verdict.action == "held"
            )

    def approve(self) -> None:
        """A person lets the policies act; later changes that weaken them wait again."""
        from retention.run.approval import approve_policy

        self.out.step(
            "A person approves",
            "A new policy disposes of nothing until somebody has seen its plan and approved it.",
            *(f"retention approve {name}" for name in POLICIES),
        )
        with self.opened() as home:
            done = [
                approve_policy(home.ctx, home.in_force, name, by=ACTOR).policy for name in POLICIES
            ]
        self.out.say(f"Approved: {', '.join(done)}.")

    def dispose(self) -> None:
        """One firing of each policy, now; the daemon does this by the clock."""
        self.out.step(
            "Disposal",
            "Intent is written down first, then the act, then what the system answered.",
            *(f"retention run {name}" for name in POLICIES[:3]),
            f"retention audit checkpoint --out {self.kept.name}",
        )
        with self.opened() as home:
            for name in POLICIES[:3]:
                self._told(home.executor().run_now(name))
            note = home.ctx.log.checkpoint(self.clock.now())
        self.kept.write_text(note, encoding="utf-8")
        self.out.say(
            f"The log's signed state is kept in {self.kept.name}: in real life on another machine, "
            "where the log's owner cannot change it."
        )

    def look_again(self, before: dict[str, int]) -> None:
        """What the log says was seen, and what other eyes see."""
        self.out.step(
            "Looking again",
            "Deleted means: read again on a new session, by another route, and not there. "
            "The log names each look.",
            "retention audit list --type batch.verified",
        )
        with self.opened() as home:
            self.out.table(("location", "outcome", "proof", "records", "how"), _looks(home))
        now = looking.counts(self.data)
        self.out.say("Counted by sqlite3 and by listing the mailbox's files:")
        self.out.table(
            ("place", "before", "now"),
            ((place, number, now[place]) for place, number in before.items()),
        )
        self._expect(places := looking.places_with(self.data, people.SUED), "a held record is gone")
        kept = ", ".join(f"{place} ({number})" for place, number in places.items())
        self.out.say(f"Under the hold, and still there: {kept}.")
        with self.opened() as home:
            invoice = next(
                item
                for item in _planned(home, ("bookkeeping-five-years",))
                if item.verdict.action == "keep" and item.location == "invoices/ledger"
            )
        self.out.say("Kept by law, with its date:")
        self.out.plan([invoice])

    def withdraw(self) -> None:
        """Consent ends: the record goes in every place at once."""
        from retention.run.orders import withdraw_consent

        who = people.LEAVES_LIST
        self.out.step(
            "Consent is withdrawn",
            f"{who.name} leaves the newsletter. Within a minute of the event his data goes from "
            "the table and from the spreadsheet; a keyed hash keeps him from being written to.",
            f"retention consent withdraw --subject {who.email} --purpose newsletter",
            "retention daemon --once",
        )
        with_him = looking.places_with(self.data, who)
        with self.opened() as home:
            mark = home.ctx.hasher.subject("email", who.email)
            withdraw_consent(home.ctx, mark, "newsletter", happened=None)
            for report in home.executor().once():
                self._told(report)
        left = looking.places_with(self.data, who)
        self.out.say(f"Before: {_listed(with_him)}. Now: {_listed(left)}.")
        self._expect(not left, "the newsletter still holds the address")

    def evidence(self) -> None:
        """The log as files that anybody checks, without personal data."""
        from retention.audit.verify import verify_folder

        export = self.folder / "export"
        self.out.step(
            "The evidence",
            "One line an entry, a Merkle tree over all lines, a signed checkpoint: other people's "
            "tools check it too (README.txt there says how).",
            "retention audit export export",
            f"retention audit verify export --against {self.kept.name}",
        )
        with self.opened() as home:
            home.ctx.log.export(export, self.clock.now())
        checked = verify_folder(export, self.kept)
        self._expect(checked.ok, "the exported log does not verify")
        self.out.say(_checked(checked), "green")
        named = sorted({p.name for _, p in looking.files_with(export, people.EVERYBODY)})
        self._expect(not named, "the log holds personal data")
        self.out.say(
            f"Searched for all {len(people.EVERYBODY)} names and addresses: none stands in the log."
        )

    def tamper(self) -> None:
        """One byte of a copy is changed, and noticed."""
        from retention.audit.verify import verify_folder

        copy = self.folder / "tampered"
        shutil.copytree(self.folder / "export", copy)
        was, becomes = change_one_byte(copy / "entries.jsonl")
        self.out.step(
            "A changed line is noticed",
            f"In a copy of the export, one byte is changed: {was} becomes {becomes}.",
            "retention audit verify tampered",
        )
        checked = verify_folder(copy)
        self._expect(not checked.ok, "the change was not noticed")
        for problem in checked.problems[:3]:
            self.out.say(problem)
        self.out.say(_checked(checked), "bold red")
        self._expect(verify_folder(self.folder / "export").ok, "the export itself was changed")

    def end(self) -> None:
        """Where everything lies, and what to try next."""
        self.out.step("Yours to try", f"Everything is still there, in {self.folder}:")
        self.out.table(
            ("place", "holds"),
            (
                ("policies/promises.yaml", "the four policies: change one, then retention plan"),
                ("data/", "the sample web site, accounts, mailbox and spreadsheet"),
                (".retention/", "ledger and keys: state that a real service backs up"),
                ("export/", "the log as files, whole"),
                ("tampered/", "the copy with one changed byte"),
            ),
        )
        year = self.clock.now().year - 2
        self.out.commands(
            "Type these there:",
            f"cd {self.folder}",
            "retention status",
            f"retention explain invoices/ledger {year}-002",
            'retention hold release 1 --reason "settled" && retention run mail-quarterly',
        )

    # --- what the steps lean on -----------------------------------------------------------------

    def opened(self) -> AbstractContextManager[Home]:
        """The home as every command opens it; what the environment sets counts for nothing here."""
        from retention.run.home import Home
        from retention.settings import load

        state = (self.folder / ".retention").resolve()
        settings = load(
            policies=self.folder / "policies",
            home=state,
            database_url=f"sqlite:///{state / 'ledger.db'}",
            origin="demo.example.org/retention",
            hold_grace_days=0,
        )
        return Home.open(settings, actor=ACTOR, clock=self.clock)

    def _told(self, report: Report) -> None:
        from retention.cli.reports import sentence

        self.out.say(sentence(report))
        for problem in report.problems:
            self.out.say(problem, "red")
        self._expect(report.exit_code == 0, f"{report.policy} ended as {report.state}")

    def _expect(self, held: object, otherwise: str) -> None:
        if not held:
            raise RetentionError(
                f"the demonstration went wrong: {otherwise}",
                hint=f"please report it; {self.folder} shows what happened",
                code="demo",
            )


def change_one_byte(entries: Path) -> tuple[str, str]:
    """Change one digit in the middle of an exported log. Returns what stood there and stands now.

    The line stays valid JSON of the same length: only the tree over all lines can tell.
    """
    text = entries.read_bytes()
    fact = b'"disposed":'
    at = text.index(fact) + len(fact)
    digit = text[at : at + 1]
    other = b"1" if digit != b"1" else b"2"
    entries.write_bytes(text[:at] + other + text[at + 1 :])
    return (fact + digit).decode(), (fact + other).decode()


def _planned(home: Home, names: Iterable[str]) -> list[Planned]:
    from retention.run.plan import Plan

    plan = Plan(home.ctx, home.in_force, home.jobs, tuple(names), home.in_force.wishes())
    items = list(plan.items())
    for error in plan.problems.values():
        raise error
    return items


def _first_kept(items: Iterable[Planned]) -> list[Planned]:
    """One kept record of each policy."""
    found: dict[str, Planned] = {}
    for item in items:
        if item.verdict.action == "keep":
            found.setdefault(item.policy, item)
    return list(found.values())


def _looks(home: Home) -> Iterable[tuple[str | int, ...]]:
    import json

    for line in home.ctx.log.query(type="batch.verified"):
        entry = json.loads(line)
        how = str(entry["because"][0]).partition(": ")[2]
        yield (
            entry["location"],
            entry["outcome"],
            entry["proof"],
            len(entry["records"]),
            how,
        )


def _listed(places: dict[str, int]) -> str:
    return ", ".join(places) or "nowhere"


def _checked(report: Checked) -> str:
    return f"{'ok' if report.ok else 'NOT OK'}: {report.size} entries, root {report.root}"
