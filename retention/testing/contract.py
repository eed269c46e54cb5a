"""The rules that every connector keeps, as tests. Subclass with a `world` fixture:

    class TestMyConnector(ConnectorContract):
        @pytest.fixture
        def world(self, tmp_path: Path) -> Iterator[World]:
            world = MyWorld(tmp_path)
            yield world
            world.close()

A capability that the manifest does not claim is tested for being refused.
"""

# ruff: noqa: S101 -- these are tests

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import pytest
from pydantic import BaseModel

from retention.connectors.base import (
    Arrival,
    Bound,
    Cap,
    Condition,
    Connector,
    Divisible,
    Level,
    Manifest,
    Op,
    Outcome,
    Receiving,
    Record,
    Ref,
    Result,
    Scalar,
    Target,
    Value,
    containers_of,
)
from retention.errors import ConnectorError, PermanentFailure
from retention.testing.world import Plan, World

EPOCH = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
DONE = {Result.DISPOSED, Result.ALREADY_ABSENT}
T = TypeVar("T")
CANARY = "canary.person@example.org"


class ConnectorContract:
    """One shared suite; each test states its rule."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        """Override: one fresh system."""
        raise NotImplementedError("override the `world` fixture")

    # --- describing -------------------------------------------------------------------------

    def test_describes_itself_as_data(self, world: World) -> None:
        """The manifest names models for its settings, and a batch size that can be acted upon."""
        connector = world.open()
        manifest = connector.describe()
        assert isinstance(manifest, Manifest)
        assert issubclass(manifest.system_settings, BaseModel)
        assert issubclass(manifest.location_settings, BaseModel)
        assert manifest.max_batch >= 1
        assert Cap.DELETE in manifest.capabilities
        connector.close()

    def test_closes_twice(self, world: World) -> None:
        """Closing is safe at any time."""
        connector = world.open()
        connector.close()
        world.put([Plan("a", EPOCH)])
        connector = world.open()
        _all(connector, world.target())
        connector.close()
        connector.close()

    def test_probe_is_content_with_a_good_system(self, world: World) -> None:
        """Every finding has a name and words; looking changes nothing."""
        world.put([Plan("a", EPOCH)])
        before = dict(world.raw())
        connector = world.open()
        findings = list(connector.probe([world.target()]))
        connector.close()
        assert findings
        assert all(f.check and f.detail for f in findings)
        assert world.raw() == before

    def test_a_missing_container_is_a_permanent_failure(self, world: World) -> None:
        """A container named literally must exist; the error says where and what to do."""
        world.put([Plan("a", EPOCH)])
        connector = world.open()
        with pytest.raises(PermanentFailure) as caught:
            connector.containers(world.missing())
        assert caught.value.place
        assert caught.value.hint
        connector.close()

    # --- finding ----------------------------------------------------------------------------

    def test_finds_every_record_once_in_bounded_pages(self, world: World) -> None:
        """More than two pages: every record once, never more than a page in memory."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(world.page * 2 + 1)])
        connector = world.open()
        pages = list(connector.find(world.target()))
        connector.close()
        assert max(len(page.records) for page in pages) <= world.page
        found = [record.ref.key for page in pages for record in page.records]
        assert sorted(found) == sorted(keys)
        assert sum(page.scanned for page in pages) >= len(keys)

    def test_reads_dates_and_fields(self, world: World) -> None:
        """A record comes with its dates in UTC and its fields, by source name."""
        (key,) = world.put([Plan("a", EPOCH, "ended", CANARY)])
        (record,) = self._found(world)
        assert record.ref.key == key
        assert record.dates[world.date] == world.seen(EPOCH)
        assert str(record.fields[world.status]) == "ended"
        assert CANARY in str(record.fields[world.email])
        assert not set(containers_of(record.ref)).isdisjoint(self._containers(world))

    def test_an_empty_location_has_no_records(self, world: World) -> None:
        """Nothing there is an answer, not an error."""
        (key,) = world.put([Plan("a", EPOCH)])
        world.remove(key)
        assert self._found(world) == []
        connector = world.open()
        assert connector.count(world.target()) in (0, None)
        connector.close()

    def test_counts_all_records_whatever_the_bounds(self, world: World) -> None:
        """A share of the location is reckoned from all of it, not from what is old."""
        world.put([Plan(f"r{n}", _day(n)) for n in range(4)])
        connector = world.open()
        assert connector.count(world.target(bounds=(Bound(world.date, _day(1)),))) in (4, None)
        connector.close()

    def test_bounds_hide_nothing_that_is_old_or_undated(self, world: World) -> None:
        """Whatever is before the bound, and whatever has no date, is found."""
        plans = [Plan(f"r{n}", _day(n)) for n in range(7)]
        plans += [Plan("undated", None)] if world.undated else []
        keys = world.put(plans)
        for instant in (_day(3) - timedelta(seconds=1), _day(3), _day(3) + timedelta(seconds=1)):
            found = {r.ref.key for r in self._found(world, bounds=(Bound(world.date, instant),))}
            must = {
                key
                for key, plan in zip(keys, plans, strict=True)
                if plan.received is None or plan.received < instant
            }
            assert must <= found

    def test_undated_records_are_reported_without_a_date(self, world: World) -> None:
        """A missing date is None, so that it is never due and never forgotten."""
        if not world.undated:
            return
        world.put([Plan("undated", None), Plan("dated", EPOCH)])
        dates = sorted((r.dates[world.date] for r in self._found(world)), key=lambda d: d is None)
        assert dates == [world.seen(EPOCH), None]

    @pytest.mark.parametrize(
        ("op", "value"),
        [
            (Op.IN, ("ended", "lost")),
            (Op.IN, ("nothing has this",)),
            (Op.NOT_IN, ("ended",)),
            (Op.EMPTY, True),
            (Op.EMPTY, False),
            (Op.MATCHES, "^e"),
        ],
    )
    def test_filters_pushed_down_equal_filters_here(
        self, world: World, op: Op, value: object
    ) -> None:
        """A pushed-down filter never hides a record that the same filter lets through here."""
        states = ("ended", "Ended", "lost", "new", "", "o'hara", "%")
        world.put([Plan(f"r{n}", _day(n), state) for n, state in enumerate(states)])
        condition = Condition(world.status, op, value)
        whole = {r.ref.key for r in self._found(world) if _holds(r, condition)}
        pushed = self._found(world, where=(condition,))
        assert {r.ref.key for r in pushed if _holds(r, condition)} == whole

    @pytest.mark.parametrize("op", [Op.BEFORE, Op.AFTER])
    def test_date_filters_hide_nothing(self, world: World, op: Op) -> None:
        """A date filter may be coarse by a day of any time zone, never stricter."""
        keys = world.put([Plan(f"r{n}", _day(n * 3)) for n in range(7)])
        middle = _day(9).date()
        found = {r.ref.key for r in self._found(world, where=(Condition(world.date, op, middle),))}
        assert set(keys[:3] if op is Op.BEFORE else keys[4:]) <= found

    def test_goes_on_from_a_cursor_in_a_new_session(self, world: World) -> None:
        """After a crash, finding goes on behind the last page: nothing twice, nothing lost."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(world.page * 3)])
        connector = world.open()
        first = next(iter(connector.find(world.target())))
        world.drop(connector)
        connector = world.open()
        rest = [r for page in connector.find(world.target(), first.cursor) for r in page.records]
        connector.close()
        found = [r.ref.key for r in (*first.records, *rest)]
        assert sorted(found) == sorted(keys)

    def test_spans_together_hold_every_record_once(self, world: World) -> None:
        """Cut for several workers: nothing in two spans, nothing in none, not even what is new."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(world.page * 4)])
        connector = world.open()
        if Cap.SHARDS not in connector.describe().capabilities:
            assert not isinstance(connector, Divisible)
            connector.close()
            return
        assert isinstance(connector, Divisible)
        assert connector.spans(world.target(), 1, 1) == (None,)
        spans = connector.spans(world.target(), 3, world.page)
        connector.close()
        assert 1 <= len(spans) <= 3
        keys = [*keys, *world.put([Plan("later", _day(99))])]
        found = [self._in_span(world, span) for span in spans]
        assert all(found)
        assert sorted(key for part in found for key in part) == sorted(keys)

    def _in_span(self, world: World, span: str | None) -> list[str]:
        """Its records, read with a break after the first page."""
        aim = replace(world.target(), span=span)
        connector = world.open()
        first = next(iter(connector.find(aim)), None)
        world.drop(connector)
        if first is None:
            return []
        connector = world.open()
        rest = [r for page in connector.find(aim, first.cursor) for r in page.records]
        connector.close()
        return [r.ref.key for r in (*first.records, *rest)]

    def test_recheck_reads_again_and_says_absent_by_silence(self, world: World) -> None:
        """What is gone yields nothing; what is there yields the same ref as before."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(3)])
        found = {r.ref.key: r for r in self._found(world)}
        world.remove(keys[1])
        connector = world.open()
        again = {r.ref.key: r for r in connector.recheck(world.target(), keys)}
        connector.close()
        assert again == {key: found[key] for key in (keys[0], keys[2])}

    # --- erasing ----------------------------------------------------------------------------

    def test_erases_these_and_touches_nothing_else(self, world: World) -> None:
        """One outcome for each ref, and every other record stays byte for byte."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(world.page * 2)])
        refs = self._refs(world, keys[::2])
        before = world.raw()
        outcomes = self._erase(world, refs)
        assert [o.result for o in outcomes] == [Result.DISPOSED] * len(refs)
        assert sorted(o.key for o in outcomes) == sorted(keys[::2])
        assert world.raw() == {k: before[k] for k in before if k not in set(keys[::2])}

    def test_no_refs_no_act(self, world: World) -> None:
        """An empty list is nothing to do, never everything."""
        world.put([Plan("a", EPOCH), Plan("b", EPOCH)])
        before = world.raw()
        connector = world.open()
        _all(connector, world.target())
        assert list(connector.erase(world.target(), [])) == []
        assert list(connector.verify(world.target(), [], None)) == []
        if Cap.MASK in connector.describe().capabilities:
            assert list(connector.mask(world.target(), [], {world.status: None})) == []
        connector.close()
        assert world.raw() == before

    def test_acting_twice_says_already_absent(self, world: World) -> None:
        """The second act is harmless, and honest about it."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(3)])
        refs = self._refs(world, keys[:2])
        self._erase(world, refs)
        before = world.raw()
        again = self._erase(world, refs)
        assert [o.result for o in again] == [Result.ALREADY_ABSENT] * 2
        assert world.raw() == before

    @pytest.mark.parametrize("k", [0, 1, 2, 3])
    def test_a_crash_at_k_can_be_redone(self, world: World, k: int) -> None:
        """What a process that dies after k answers leaves, a new one finishes; no other is hit."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(6)])
        refs = self._refs(world, keys[:4])
        before = world.raw()
        connector = world.open()
        answers = iter(connector.erase(world.target(), refs))
        told = [next(answers) for _ in range(k)]
        world.drop(connector)
        del answers
        left = world.raw()
        assert all(o.key not in left for o in told if o.result is Result.DISPOSED)
        outcomes = self._erase(world, refs)
        assert {o.result for o in outcomes} <= DONE
        assert sorted(o.key for o in outcomes) == sorted(keys[:4])
        assert world.raw() == {k_: before[k_] for k_ in keys[4:]}

    def test_a_lost_answer_can_be_redone(self, world: World) -> None:
        """A time-out after the system did it: no false claim, a look tells, a redo is harmless."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(4)])
        refs = self._refs(world, keys[:2])
        before = world.raw()
        with world.answer_lost():
            told, error = _try(world, lambda c: c.erase(world.target(), refs))
        assert error is None or not error.permanent
        left = world.raw()
        assert all(o.key not in left for o in told if o.result in DONE)
        assert not {o.result for o in told} & {Result.FAILED_PERMANENT, Result.CHANGED}
        outcomes = self._erase(world, refs)
        assert {o.result for o in outcomes} <= DONE
        assert world.raw() == {k: before[k] for k in keys[2:]}
        assert self._levels(world, refs, keys[3]) <= {Level.GONE, Level.CLEAN}

    def test_a_record_that_changed_is_left_alone(self, world: World) -> None:
        """What is no longer what was decided upon stays, and is called changed."""
        if not world.changeable:
            return
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(4)])
        refs = self._refs(world, keys[:3])
        world.change(keys[1])
        before = world.raw()
        results = {o.key: o.result for o in self._erase(world, refs)}
        assert results == {
            keys[0]: Result.DISPOSED,
            keys[1]: Result.CHANGED,
            keys[2]: Result.DISPOSED,
        }
        assert world.raw() == {k: before[k] for k in (keys[1], keys[3])}

    def test_a_change_shows_in_the_version(self, world: World) -> None:
        """The version is stable while nothing changes, and another one after a change."""
        (key,) = world.put([Plan("a", EPOCH)])
        first, second = (self._refs(world, [key])[0].version for _ in range(2))
        assert first == second
        if world.changeable:
            world.change(key)
            assert self._refs(world, [key])[0].version != first

    def test_odd_keys_are_only_keys(self, world: World) -> None:
        """Quotes, percent signs, newlines and long names are found, erased and verified alike."""
        keys = world.put([Plan(name, _day(n)) for n, name in enumerate(world.odd_names)])
        (other,) = world.put([Plan("plain", EPOCH)])
        before = world.raw()
        assert {r.ref.key for r in self._found(world)} == {*keys, other}
        refs = self._refs(world, keys)
        assert [r.key for r in refs] == keys
        connector = world.open()
        for ref in refs:
            (outcome,) = connector.erase(world.target(), [ref])
            assert (outcome.key, outcome.result) == (ref.key, Result.DISPOSED)
        connector.close()
        assert world.raw() == {other: before[other]}
        assert self._levels(world, refs, other) <= {Level.GONE, Level.CLEAN}

    # --- masking and reading ----------------------------------------------------------------

    def test_masks_these_fields_of_these_records(self, world: World) -> None:
        """The named field is overwritten, the record stays, others stay byte for byte."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(4)])
        refs = self._refs(world, keys[:2])
        before = world.raw()
        values = {world.status: "anonymised"}
        connector = world.open()
        if Cap.MASK not in connector.describe().capabilities:
            with pytest.raises(PermanentFailure):
                list(connector.mask(world.target(), refs, values))
            connector.close()
            assert world.raw() == before
            return
        control = self._refs(world, [keys[3]])[0]
        levels = [p.level for p in connector.verify(world.target(), refs, control, values)]
        assert levels == [Level.PRESENT] * 2
        outcomes = list(connector.mask(world.target(), refs, values))
        assert [o.result for o in outcomes] == [Result.DISPOSED] * 2
        connector.close()
        after = world.raw()
        assert after.keys() == before.keys()
        assert {k: after[k] for k in keys[2:]} == {k: before[k] for k in keys[2:]}
        assert {str(r.fields[world.status]) for r in self._found(world)} == {"anonymised", "new"}
        assert self._levels(world, refs, keys[3], values) <= {Level.GONE, Level.CLEAN}
        connector = world.open()
        again = list(connector.mask(world.target(), refs, values))
        connector.close()
        assert {o.result for o in again} <= {*DONE, Result.CHANGED}
        assert world.raw() == after

    def test_a_changed_record_is_not_masked(self, world: World) -> None:
        """The precondition holds for masking too."""
        connector = world.open()
        able = Cap.MASK in connector.describe().capabilities
        connector.close()
        if not (able and world.changeable):
            return
        keys = world.put([Plan("a", EPOCH), Plan("b", EPOCH)])
        refs = self._refs(world, keys)
        world.change(keys[0])
        before = world.raw()
        connector = world.open()
        results = {
            o.key: o.result
            for o in connector.mask(world.target(), refs, {world.email: "gone@example.invalid"})
        }
        connector.close()
        assert results == {keys[0]: Result.CHANGED, keys[1]: Result.DISPOSED}
        assert world.raw()[keys[0]] == before[keys[0]]

    def test_gives_whole_records_for_a_hand_over(self, world: World) -> None:
        """The content of each record, once, under a file name that is safe and says nothing."""
        keys = world.put([Plan("a", EPOCH, email=CANARY), Plan("b/../b", EPOCH)])
        refs = self._refs(world, keys)
        connector = world.open()
        if Cap.READ not in connector.describe().capabilities:
            with pytest.raises(PermanentFailure):
                list(connector.read(world.target(), refs))
            connector.close()
            return
        contents = {c.key: c for c in connector.read(world.target(), refs)}
        connector.close()
        assert contents.keys() == set(keys)
        assert CANARY.encode() in contents[keys[0]].data
        names = [c.filename for c in contents.values()]
        assert len(set(names)) == len(names)
        assert all("/" not in n and "canary" not in n and not n.startswith(".") for n in names)

    # --- taking in ---------------------------------------------------------------------------

    def test_takes_in_copies_once_and_under_the_given_key(self, world: World) -> None:
        """A copy is there under its key with its values; sent again, it is there once.

        A location whose keys cannot be given refuses the copy and stays as it was.
        """
        world.put([Plan("a", EPOCH)])
        connector = world.open()
        if Cap.RECEIVE not in connector.describe().capabilities:
            assert not isinstance(connector, Receiving)
            connector.close()
            return
        assert isinstance(connector, Receiving)
        before = dict(world.raw())
        values: dict[str, Value] = {
            world.date: EPOCH,
            world.status: "=1+1",
            world.email: CANARY,
        }
        arrivals = [Arrival("copy-1", values), Arrival("copy/2", values)]
        for _ in range(2):
            said = list(connector.receive(world.target(), arrivals))
            assert [o.key for o in said] == ["copy-1", "copy/2"]
        results = {o.result for o in said}
        connector.close()
        looking = world.open()
        found = {r.ref.key: r for r in looking.recheck(world.target(), ["copy-1", "copy/2"])}
        looking.close()
        after = dict(world.raw())
        assert {k: after[k] for k in before} == before
        if results == {Result.FAILED_PERMANENT}:
            assert after == before
            return
        assert results == {Result.RECEIVED}
        assert len(after) == len(before) + 2
        assert found.keys() == {"copy-1", "copy/2"}
        for record in found.values():
            assert str(record.fields[world.status]) == "=1+1"
            assert CANARY in str(record.fields[world.email])
            when = record.dates[world.date]
            assert when is not None
            assert (when.date() if isinstance(when, datetime) else when) == EPOCH.date()

    # --- verifying --------------------------------------------------------------------------

    def test_verify_tells_what_is_there_and_what_is_gone(self, world: World) -> None:
        """One proof for each ref; what was removed by anybody is gone, what is there is present."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(4)])
        refs = self._refs(world, keys)
        world.remove(keys[1])
        connector = world.open()
        proofs = {p.key: p for p in connector.verify(world.target(), refs[:3], refs[3])}
        connector.close()
        assert proofs.keys() == set(keys[:3])
        assert proofs[keys[1]].level in {Level.GONE, Level.CLEAN}
        assert proofs[keys[0]].level is proofs[keys[2]].level is Level.PRESENT
        assert all(p.how for p in proofs.values())

    def test_an_old_session_sees_the_truth(self, world: World) -> None:
        """Looking never rests on a snapshot from before the act."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(3)])
        refs = self._refs(world, keys)
        old = world.open()
        assert {p.level for p in old.verify(world.target(), refs[:2], refs[2])} == {Level.PRESENT}
        self._erase(world, refs[:1])
        levels = {p.key: p.level for p in old.verify(world.target(), refs[:2], refs[2])}
        old.close()
        assert levels[keys[0]] in {Level.GONE, Level.CLEAN}
        assert levels[keys[1]] is Level.PRESENT

    def test_without_its_control_nothing_is_proved(self, world: World) -> None:
        """Where a record known to exist cannot be read, every proof is unknown."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(3)])
        refs = self._refs(world, keys)
        world.remove(keys[0])
        world.remove(keys[2])
        connector = world.open()
        levels = [p.level for p in connector.verify(world.target(), refs[:1], refs[2])]
        connector.close()
        assert levels == [Level.UNKNOWN]

    # --- trouble ----------------------------------------------------------------------------

    def test_a_lost_permission_is_not_gone(self, world: World) -> None:
        """Whoever may not look does not say gone; whoever may not act does not act."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(3)])
        refs = self._refs(world, keys)
        before = world.raw()
        with world.denied():
            levels, _ = _try(world, lambda c: c.verify(world.target(), refs[:2], refs[2]))
            outcomes, error = _try(world, lambda c: c.erase(world.target(), refs[:2]))
        assert {p.level for p in levels} <= {Level.UNKNOWN}
        assert error is not None or outcomes
        assert {o.result for o in outcomes} <= {Result.FAILED_PERMANENT}
        assert error is None or error.permanent
        assert world.raw() == before

    def test_a_temporary_failure_says_so_and_passes(self, world: World) -> None:
        """Nothing is done, trying again later is right, and then it works."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(3)])
        refs = self._refs(world, keys[:2])
        before = world.raw()
        with world.temporary():
            outcomes, error = _try(world, lambda c: c.erase(world.target(), refs))
        assert error is not None or outcomes
        assert {o.result for o in outcomes} <= {Result.FAILED_TEMPORARY, Result.UNKNOWN}
        assert error is None or not error.permanent
        assert world.raw() == before
        assert {o.result for o in self._erase(world, refs)} == {Result.DISPOSED}

    def test_a_permanent_failure_says_so(self, world: World) -> None:
        """Nothing is done, and trying again is no use."""
        keys = world.put([Plan(f"r{n}", _day(n)) for n in range(3)])
        refs = self._refs(world, keys[:2])
        before = world.raw()
        with world.permanent():
            outcomes, error = _try(world, lambda c: c.erase(world.target(), refs))
        assert error is not None or outcomes
        assert {o.result for o in outcomes} <= {Result.FAILED_PERMANENT}
        assert error is None or error.permanent
        assert world.raw() == before

    def test_secrets_and_personal_data_never_print(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in str, repr, errors, their contexts, or any log line of any library."""
        caplog.set_level(logging.DEBUG)
        keys = world.put([Plan(CANARY, EPOCH, CANARY, CANARY), Plan("b", EPOCH), Plan("c", EPOCH)])
        target = world.target()
        printed: list[str] = []
        connector = world.open()
        list(connector.probe([target]))
        refs = _refs_of(_all(connector, target), keys)
        printed += [str(connector), repr(connector), repr(vars(connector))]
        connector.close()
        for trouble in (world.denied, world.temporary, world.permanent, world.answer_lost):
            with trouble():
                _, error = _try(world, lambda c: c.erase(target, refs[:1]))
                printed += [] if error is None else _everything(error)
                _, error = _try(world, lambda c: c.verify(target, refs[:1], refs[2]))
                printed += [] if error is None else _everything(error)
        list(self._erase(world, refs[:2]))
        printed += [record.getMessage() + str(record.exc_text) for record in caplog.records]
        told = "\n".join(printed)
        for secret in (CANARY, *world.secrets):
            assert secret not in told

    # --- steps ------------------------------------------------------------------------------

    def _found(
        self,
        world: World,
        *,
        where: tuple[Condition, ...] = (),
        bounds: tuple[Bound, ...] = (),
    ) -> list[Record]:
        connector = world.open()
        try:
            return _all(connector, world.target(where=where, bounds=bounds))
        finally:
            connector.close()

    def _refs(self, world: World, keys: Iterable[str]) -> list[Ref]:
        """Refs as discovery gives them, in the order of the keys."""
        return _refs_of(self._found(world), keys)

    def _erase(self, world: World, refs: list[Ref]) -> list[Outcome]:
        connector = world.open()
        try:
            return list(connector.erase(world.target(), refs))
        finally:
            connector.close()

    def _levels(
        self,
        world: World,
        refs: list[Ref],
        control: str,
        masked: Mapping[str, Scalar] | None = None,
    ) -> set[Level]:
        (known,) = self._refs(world, [control])
        connector = world.open()
        try:
            return {p.level for p in connector.verify(world.target(), refs, known, masked)}
        finally:
            connector.close()

    def _containers(self, world: World) -> tuple[str, ...]:
        connector = world.open()
        try:
            return connector.containers(world.target())
        finally:
            connector.close()


def _day(n: int) -> datetime:
    return EPOCH + timedelta(days=n)


def _all(connector: Connector, target: Target) -> list[Record]:
    return [record for page in connector.find(target) for record in page.records]


def _refs_of(records: list[Record], keys: Iterable[str]) -> list[Ref]:
    by_key = {record.ref.key: record.ref for record in records}
    return [by_key[key] for key in keys]


def _try(
    world: World, ask: Callable[[Connector], Iterator[T]]
) -> tuple[list[T], ConnectorError | None]:
    """What a call answered, and how it ended."""
    connector = world.open()
    answers: list[T] = []
    try:
        answers.extend(ask(connector))
    except ConnectorError as error:
        return answers, error
    finally:
        world.drop(connector)
    return answers, None


def _everything(error: BaseException) -> list[str]:
    """Every text that an error and its causes could put into a log."""
    texts = ["".join(traceback.format_exception(error))]
    cause: BaseException | None = error
    while cause is not None:
        texts += [str(cause), repr(cause), repr(cause.args), repr(vars(cause))]
        cause = cause.__cause__ or cause.__context__
    return texts


def _holds(record: Record, condition: Condition) -> bool:
    """The filter as the engine applies it, for text fields."""
    value = record.fields.get(condition.source)
    text = "" if value is None or isinstance(value, date) else str(value)
    match condition.op:
        case Op.IN:
            return text in condition.value
        case Op.NOT_IN:
            return text not in condition.value
        case Op.EMPTY:
            return (text == "") is condition.value
        case _:
            return text.startswith("e")
