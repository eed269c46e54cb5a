"""A WordPress site in tests: find, erase and verify in few words; entries to start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from retention.connectors import sql
from retention.connectors.base import Connector, Level, Opened, Outcome, Probe, Record, Ref, Target
from retention.connectors.sql import php
from retention.connectors.sql.settings import SqlLocation, SqlSystem
from tests.connectors.wordpress_worlds import escaped
from tests.servers.wordpress import WordPress


@dataclass
class Forms:
    """The stores of one site."""

    site: WordPress
    url: str = ""
    zone: str = "Europe/Oslo"
    more: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def session(self) -> Iterator[Connector]:
        settings = SqlSystem.model_validate({"url": SecretStr(self.url or self.site.url)})
        connector = sql.connect(Opened("site", settings, ".", {"timezone": self.zone}))
        try:
            yield connector
        finally:
            connector.close()

    def at(
        self,
        store: str,
        *fields: str,
        dates: Sequence[str] = ("received",),
        where: Any = (),
        bounds: Any = (),
        **said: Any,
    ) -> Target:
        said = {"store": store, "uploads": str(self.site.uploads), **said}
        settings = SqlLocation.model_validate({k: v for k, v in said.items() if v is not None})
        return Target(f"c/{store}", settings, tuple(dates), fields, where, bounds)

    def found(self, target: Target) -> dict[str, Record]:
        with self.session() as session:
            return {r.ref.key: r for page in session.find(target) for r in page.records}

    def refs(self, target: Target) -> list[Ref]:
        return [record.ref for record in self.found(target).values()]

    def erase(self, target: Target, refs: Sequence[Ref]) -> list[Outcome]:
        with self.session() as session:
            return list(session.erase(target, refs))

    def erased(self, target: Target, refs: Sequence[Ref]) -> list[str]:
        """`result` or `result code`, for each."""
        return [f"{o.result} {o.code}".strip() for o in self.erase(target, refs)]

    def levels(self, target: Target, refs: Sequence[Ref]) -> set[Level]:
        with self.session() as session:
            return {proof.level for proof in session.verify(target, refs, None)}

    def doctor(self, *targets: Target) -> list[Probe]:
        with self.session() as session:
            return list(session.probe(targets))

    # --- entries ---

    def insert(self, table: str, **values: Any) -> int:
        names = ", ".join(f"`{name}`" for name in values)
        marks = ", ".join(["%s"] * len(values))
        with self.site.connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [*values.values()])
            return int(cursor.lastrowid)

    def cfdb7(self, when: str = "2026-01-05 10:00:00", /, **fields: Any) -> int:
        """A row of Contact Form CFDB7; texts are stored as the plugin stores them."""
        said = {"cfdb7_status": "unread", **{k.replace("_", "-"): v for k, v in fields.items()}}
        said = {k.replace("cfdb7-", "cfdb7_"): v for k, v in said.items()}
        value = php.dumps({k: escaped(v) if isinstance(v, str) else v for k, v in said.items()})
        return self.insert("wp_db7_forms", form_post_id=7, form_value=value, form_date=when)

    def gravity(self, form: int = 3, *, status: str = "active", **values: Any) -> int:
        """An entry of Gravity Forms; `f1="x"` is field 1, `f1_3` is its part 3."""
        entry = self.insert(
            "wp_gf_entry", form_id=form, date_created="2026-01-05 10:00:00", ip="192.0.2.7",
            status=status,
        )  # fmt: skip
        for name, value in values.items():
            self.insert(
                "wp_gf_entry_meta", form_id=form, entry_id=entry,
                meta_key=name[1:].replace("_", "."), meta_value=value,
            )  # fmt: skip
        self.insert(
            "wp_gf_entry_notes", entry_id=entry, date_created="2026-01-05 10:00:01",
            value="called back",
        )  # fmt: skip
        return entry

    def file(self, path: str, text: str = "cv") -> Any:
        there = self.site.uploads / path
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        return there


FLAMINGO = """
$add = function ($status, $n, $extra = array()) {
    $id = wp_insert_post(array('post_type' => 'flamingo_inbound', 'post_status' => $status,
        'post_title' => "Subject $n", 'post_content' => "p$n@example.org"));
    update_post_meta($id, '_subject', "Subject $n");
    update_post_meta($id, '_from_email', "p$n@example.org");
    update_post_meta($id, '_from_name', "Person $n");
    foreach (array('your-email' => "p$n@example.org", 'your-name' => "Person $n",
            'topics' => array('one', "t'wo")) + $extra as $k => $v) {
        update_post_meta($id, sanitize_key("_field_$k"), $v);
        $fields[$k] = null;
    }
    update_post_meta($id, '_fields', $fields);
    update_post_meta($id, '_meta', array('remote_ip' => "192.0.2.$n"));
    wp_set_object_terms($id, 'contact-form-7', 'flamingo_inbound_channel');
    return $id;
};
"""
"""PHP: `$add(status, number)` makes a message as Flamingo does."""
