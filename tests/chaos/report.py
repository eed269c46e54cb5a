"""The figures of a story as one table."""

from __future__ import annotations

from collections import Counter

from tests.chaos.story import Told


def show(title: str, seed: int, told: Told) -> str:
    """One line a figure."""
    seen, figures = told.seen, told.figures
    kinds = Counter(entry["type"] for entry in seen.entries)
    gone = sum(
        len(e["records"])
        for e in seen.entries
        if e["type"] == "batch.done" and e["outcome"] in ("disposed", "already_absent")
    )
    recovered = sum(
        len(e["records"])
        for e in seen.entries
        if e["type"] == "batch.done" and e.get("kind") == "recovered"
    )
    again = sum(
        len(e["records"])
        for e in seen.entries
        if e["type"] == "batch.done" and e.get("kind") == "interrupted"
    )
    after = sorted(figures.resumed_after)
    rows: list[tuple[str, object]] = [
        ("seed", seed),
        ("SIGKILLs", sum(figures.kills.values())),
        *((f"  {name}", number) for name, number in sorted(figures.kills.items())),
        ("other faults", sum(n for f, n in figures.faults.items() if f not in figures.kills)),
        *((f"  {f}", n) for f, n in sorted(figures.faults.items()) if f not in figures.kills),
        ("answers lost after the act", figures.answers_cut),
        ("wake-ups", figures.wakeups),
        ("  dropped", figures.wakeups_dropped),
        ("  doubled", figures.wakeups_doubled),
        ("workers given up by Celery, and started again", figures.given_up),
        ("records", len(seen.items)),
        ("  due", sum(item.due for item in seen.items.values())),
        ("  disposed of, each once", gone),
        ("  recovered: the act was done, its outcome not written", recovered),
        ("  tried again: the act was not done", again),
        ("holds midway", figures.holds_midway),
        ("runs finished", kinds["run.finished"]),
        ("firings missed and written down", kinds["firing.missed"]),
        ("entries in the log", len(seen.entries)),
        ("checkpoints compared", len(seen.verifications)),
        ("work that a killed process held, taken up again", len(after)),
        ("  after, median", f"{after[len(after) // 2]:.1f} s" if after else "-"),
        ("  after, at most", f"{after[-1]:.1f} s" if after else "-"),
        ("duration", f"{figures.seconds:.0f} s"),
        ("rules broken", len(told.broken)),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in rows)])
