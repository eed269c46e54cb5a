"""The other stores: Contact Form CFDB7, Gravity Forms, WPForms; their files, the site's time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from retention.connectors.base import Level, Probe, Target
from retention.connectors.sql import php
from retention.connectors.sql.settings import SqlLocation
from retention.errors import PermanentFailure
from tests.connectors.wordpress_site import FLAMINGO, Forms
from tests.servers.wordpress import WordPress


@pytest.fixture
def forms(wordpress: WordPress) -> Forms:
    return Forms(wordpress)


# --- Contact Form CFDB7 -------------------------------------------------------------------------


def test_cfdb7_reads_values_as_people_wrote_them(forms: Forms) -> None:
    """Quotes and slashes are entities in the table, and what was typed in a record."""
    forms.cfdb7(your_email="o'hara@example.org", topics={0: "a", 1: "b"}, path='a/b\\c"')
    (record,) = forms.found(forms.at("cfdb7", "your-email", "topics", "path", "status")).values()
    assert record.fields == {
        "your-email": "o'hara@example.org", "topics": ("a", "b"), "path": "a/b\\c\"",
        "status": "unread",
    }  # fmt: skip


def test_cfdb7_opening_an_entry_is_no_change(forms: Forms) -> None:
    """The plugin writes `read` into the same text; a changed answer is a change."""
    key = forms.cfdb7(your_email="p@example.org")
    target = forms.at("cfdb7", "your-email")
    refs = forms.refs(target)
    update = "UPDATE wp_db7_forms SET form_value = %s WHERE form_id = %s"
    read: php.PhpValue = {"cfdb7_status": "read", "your-email": "p@example.org"}
    forms.site.sql(update, php.dumps(read), key)
    assert forms.refs(target) == refs
    forms.site.sql(update, php.dumps(read).replace("p@", "q@"), key)
    assert forms.erased(target, refs) == ["changed"]


@pytest.mark.parametrize(
    "value", ['O:8:"stdClass":0:{}', 'a:1:{s:3:"æ";N;}', "garbage", "i:5;", "a:1:{i:0;R:1;}"]
)
def test_cfdb7_an_unreadable_entry_is_reported_and_stays(forms: Forms, value: str) -> None:
    """Nobody knows whose it is or which files it names: no date, and never deleted."""
    forms.cfdb7(your_email="p@example.org")
    key = forms.insert("wp_db7_forms", form_post_id=1, form_value=value, form_date="2020-01-01")
    target = forms.at("cfdb7", "your-email")
    record = forms.found(target)[str(key)]
    assert record.dates == {"received": None}
    assert record.fields == {"your-email": None}
    assert forms.erased(target, [record.ref]) == ["failed_permanent unreadable"]
    assert str(key) in forms.found(target)


def test_cfdb7_files_go_with_their_entry_and_the_last_that_names_them(forms: Forms) -> None:
    """One file, several files, a shared one, one that is gone already; others stay."""
    mine = forms.file("cfdb7_uploads/17-cv.pdf")
    more = [forms.file(f"cfdb7_uploads/18-{n}.pdf") for n in "ab"]
    shared = forms.file("cfdb7_uploads/19_100%.pdf")
    other = forms.file("cfdb7_uploads/17-cv.pdf.bak")
    one = forms.cfdb7(cvcfdb7_file="17-cv.pdf", scans_cfdb7_file={0: "18-a.pdf", 1: "18-b.pdf"})
    two = forms.cfdb7(a_cfdb7_file="19_100%.pdf", b_cfdb7_file="gone.pdf")
    three = forms.cfdb7(a_cfdb7_file="19_100%.pdf", c_cfdb7_file="")
    target = forms.at("cfdb7")
    refs = {key: record.ref for key, record in forms.found(target).items()}
    assert forms.erased(target, [refs[str(one)], refs[str(two)]]) == ["disposed"] * 2
    assert not any(path.exists() for path in (mine, *more))
    assert shared.exists()
    assert other.exists()
    assert forms.levels(target, [refs[str(one)], refs[str(two)]]) == {Level.GONE}
    assert forms.erased(target, [refs[str(three)]]) == ["disposed"]
    assert not shared.exists()


def test_cfdb7_a_file_that_is_left_is_not_gone(forms: Forms) -> None:
    """The row went by another hand, its file did not: still there, then cleaned."""
    there = forms.file("cfdb7_uploads/1-cv.pdf")
    forms.cfdb7(a_cfdb7_file="1-cv.pdf")
    target = forms.at("cfdb7")
    refs = forms.refs(target)
    forms.site.sql("DELETE FROM wp_db7_forms")
    assert forms.levels(target, refs) == {Level.PRESENT}
    assert forms.erased(target, refs) == ["already_absent"]
    assert not there.exists()
    assert forms.levels(target, refs) == {Level.GONE}


@pytest.mark.parametrize(
    "name", ["../../wp-config.php", "/etc/passwd", "link", "sub", "a\\b", "x\0y"]
)
def test_cfdb7_no_path_leads_out(forms: Forms, name: str) -> None:
    """Upwards, absolute, a link, a folder: the entry stays with its reason, the file too."""
    config = forms.site.folder / "wp-config.php"
    config.write_text("keys")
    forms.file("cfdb7_uploads/sub/x")
    (forms.site.uploads / "cfdb7_uploads" / "link").symlink_to(config)
    forms.insert(
        "wp_db7_forms", form_post_id=1, form_date="2020-01-01",
        form_value=php.dumps({"a" + "cfdb7_file": name}),
    )  # fmt: skip
    target = forms.at("cfdb7")
    assert forms.erased(target, forms.refs(target)) == ["failed_permanent upload-unsafe"]
    assert config.read_text() == "keys"
    assert len(forms.found(target)) == 1


def test_files_are_not_forgotten_where_their_folder_is_not_told(forms: Forms) -> None:
    """Without `uploads` an entry with a file stays, one without goes."""
    forms.cfdb7(a_cfdb7_file="1-cv.pdf")
    forms.cfdb7(your_email="p@example.org")
    target = forms.at("cfdb7", uploads=None)
    said = forms.erased(target, forms.refs(target))
    assert said == ["failed_permanent upload-folder-not-told", "disposed"]


def test_a_folder_that_is_not_there_stops_the_act(forms: Forms) -> None:
    """A disk that is not mounted must not read as "no files"."""
    forms.cfdb7(your_email="p@example.org")
    target = forms.at("cfdb7", uploads=str(forms.site.folder / "none"))
    with pytest.raises(PermanentFailure):
        forms.erase(target, forms.refs(target))
    assert len(forms.found(target)) == 1


KILLED = """
import os, signal, sys
from pydantic import SecretStr
from retention.connectors import sql
from retention.connectors.base import Opened, Target
from retention.connectors.sql.settings import SqlLocation, SqlSystem
from retention.connectors.sql.uploads import Root

remove = Root.remove

def and_die(self, path):
    remove(self, path)
    os.kill(os.getpid(), signal.SIGKILL)

Root.remove = and_die
url, uploads = sys.argv[1:]
target = Target("c/x", SqlLocation.model_validate({"store": "cfdb7", "uploads": uploads}))
session = sql.connect(Opened("site", SqlSystem(url=SecretStr(url)), ".", {}))
refs = [r.ref for page in session.find(target) for r in page.records]
list(session.erase(target, refs))
"""


def test_killed_between_file_and_row_the_next_run_finishes(forms: Forms) -> None:
    """The row is still there and names what is left; nothing is orphaned."""
    paths = [forms.file(f"cfdb7_uploads/{n}.pdf") for n in "abc"]
    forms.cfdb7(x_cfdb7_file={0: "a.pdf", 1: "b.pdf"})
    forms.cfdb7(x_cfdb7_file="c.pdf")
    command = [sys.executable, "-c", KILLED, forms.site.url, str(forms.site.uploads)]
    done = subprocess.run(command, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert sum(path.exists() for path in paths) == 2
    target = forms.at("cfdb7")
    refs = forms.refs(target)
    assert len(refs) == 2
    assert forms.erased(target, refs) == ["disposed"] * 2
    assert not any(path.exists() for path in paths)
    assert forms.levels(target, refs) == {Level.GONE}


def test_without_transactions_the_row_goes_last(forms: Forms) -> None:
    """MyISAM brings nothing back: files go first, so that a row is there as long as its files."""
    site = forms.site
    site.sql("ALTER TABLE wp_db7_forms ENGINE=MyISAM")
    try:
        forms.file("cfdb7_uploads/a.pdf")
        forms.cfdb7(x_cfdb7_file="a.pdf")
        target = forms.at("cfdb7")
        command = [sys.executable, "-c", KILLED, site.url, str(site.uploads)]
        assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
        assert any(p.check.endswith(": transactions") for p in forms.doctor(target) if not p.ok)
        refs = forms.refs(target)
        assert forms.erased(target, refs) == ["disposed"]
        assert forms.levels(target, refs) == {Level.GONE}
    finally:
        site.sql("ALTER TABLE wp_db7_forms ENGINE=InnoDB")


# --- the site's own time ------------------------------------------------------------------------


def seen(forms: Forms, when: str, **said: Any) -> str:
    forms.cfdb7(when, your_email="p@example.org")
    (record,) = forms.found(forms.at("cfdb7", **said)).values()
    forms.site.sql("DELETE FROM wp_db7_forms")
    return str(record.dates["received"])[:16]


def test_times_are_those_of_the_site(forms: Forms) -> None:
    """A zone, an offset, neither; twice or never on the clock is the later one, never too early."""
    option = "UPDATE wp_options SET option_value = %s WHERE option_name = %s"
    forms.site.sql(option, "Europe/Oslo", "timezone_string")
    assert seen(forms, "2026-01-05 10:00:00") == "2026-01-05 09:00"
    assert seen(forms, "2026-07-05 10:00:00") == "2026-07-05 08:00"
    assert seen(forms, "2026-10-25 02:30:00") == "2026-10-25 01:30"
    assert seen(forms, "2026-03-29 02:30:00") == "2026-03-29 01:30"
    assert seen(forms, "2026-01-05 10:00:00", timezone="Asia/Tokyo") == "2026-01-05 01:00"
    forms.site.sql(option, "", "timezone_string")
    forms.site.sql(option, "5.5", "gmt_offset")
    assert seen(forms, "2026-01-05 10:00:00") == "2026-01-05 04:30"
    forms.site.sql(option, "0", "gmt_offset")
    assert seen(forms, "2026-01-05 10:00:00") == "2026-01-05 10:00"
    forms.site.sql(option, "Nowhere/Else", "timezone_string")
    with pytest.raises(PermanentFailure):
        seen(forms, "2026-01-05 10:00:00")
    few = Forms(forms.site, url=forms.site.guest("SELECT, DELETE", "wp_db7_forms"))
    with pytest.raises(PermanentFailure) as caught:
        few.found(few.at("cfdb7"))
    assert "timezone" in caught.value.hint


# --- Gravity Forms ------------------------------------------------------------------------------

HASH = "3-" + "a1" * 16


def test_gravity_entries_go_with_meta_notes_and_files(forms: Forms) -> None:
    """Addresses of files, one or a list, below the form's own folder; every status."""
    base = "https://site.example.org/wp-content/uploads/gravity_forms"
    files = [forms.file(f"gravity_forms/{HASH}/2026/01/{n}") for n in ("a.pdf", "b æ.pdf", "c.pdf")]
    kept = forms.file(f"gravity_forms/{HASH}/2026/01/index.html")
    one = forms.gravity(f1="p1@example.org", f5=f"{base}/{HASH}/2026/01/a.pdf")
    listed = json.dumps([f"{base}/{HASH}/2026/01/b%20æ.pdf", f"{base}/{HASH}/2026/01/c.pdf"])
    two = forms.gravity(status="trash", f1="p2@example.org", f5=listed, f7_3="Part")
    forms.gravity(status="spam", f1="p3@example.org")
    target = forms.at("gravity-forms", "1", "7.3", "status", "ip")
    found = forms.found(target)
    assert found[str(two)].fields == {
        "1": "p2@example.org", "7.3": "Part", "status": "trash", "ip": "192.0.2.7",
    }  # fmt: skip
    assert str(found[str(one)].dates["received"]) == "2026-01-05 10:00:00+00:00"
    assert len(found) == 3
    refs = [found[str(key)].ref for key in (one, two)]
    assert forms.erased(target, refs) == ["disposed"] * 2
    assert forms.levels(target, refs) == {Level.GONE}
    assert not any(path.exists() for path in files)
    assert kept.exists()
    for table in ("gf_entry", "gf_entry_notes"):
        assert forms.site.sql(f"SELECT COUNT(*) FROM wp_{table}") == [(1,)]
    assert forms.site.sql("SELECT DISTINCT meta_value FROM wp_gf_entry_meta") == [
        ("p3@example.org",)
    ]


@pytest.mark.parametrize(
    "path",
    [".htaccess", "index.html", f"{HASH}/2026/01/.htaccess", f"{HASH}/2026/01/../../x.pdf",
     f"4-{'b2' * 16}/2026/01/x.pdf", "../../wp-config.php"],
)  # fmt: skip
def test_gravity_a_visitor_cannot_point_at_other_files(forms: Forms, path: str) -> None:
    """An address typed into a text field names no file that the plugin did not keep itself."""
    targets = [forms.file(f"gravity_forms/{p}") for p in
               (".htaccess", "index.html", f"{HASH}/2026/01/.htaccess", f"{HASH}/x.pdf",
                f"4-{'b2' * 16}/2026/01/x.pdf")]  # fmt: skip
    forms.gravity(f1=f"https://site.example.org/wp-content/uploads/gravity_forms/{path}")
    target = forms.at("gravity-forms")
    assert forms.erased(target, forms.refs(target)) == ["disposed"]
    assert all(there.exists() for there in targets)


def test_gravity_drafts_are_a_store_of_their_own(forms: Forms) -> None:
    """Whoever saved a form and never sent it left an address too."""
    forms.insert(
        "wp_gf_draft_submissions", uuid="f" * 32, email="p@example.org", form_id=3, ip="192.0.2.1",
        date_created="2026-01-05 10:00:00", source_url="", submission="{}",
    )  # fmt: skip
    target = forms.at("gravity-forms-drafts", "email")
    (record,) = forms.found(target).values()
    assert record.fields == {"email": "p@example.org"}
    assert forms.erased(target, [record.ref]) == ["disposed"]
    assert forms.levels(target, [record.ref]) == {Level.GONE}


# --- WPForms ------------------------------------------------------------------------------------


def wpforms(forms: Forms, fields: dict[str, Any], **row: Any) -> int:
    row = {"date": "2026-01-05 10:00:00", "date_modified": "2026-01-05 10:00:00", **row}
    entry = forms.insert("wp_wpforms_entries", form_id=9, fields=json.dumps(fields), **row)
    for name, said in fields.items():
        forms.insert(
            "wp_wpforms_entry_fields", entry_id=entry, form_id=9, field_id=name,
            value=said["value"], date=row["date"],
        )  # fmt: skip
    forms.insert(
        "wp_wpforms_entry_meta", entry_id=entry, form_id=9, type="note", data="called",
        date=row["date"],
    )  # fmt: skip
    return entry


def test_wpforms_entries_go_with_fields_notes_and_files(forms: Forms) -> None:
    """Files only of fields that take files; an address in a text is a text."""
    base = "https://site.example.org/wp-content/uploads/wpforms/9-abc"
    mine, other = forms.file("wpforms/9-abc/cv.pdf"), forms.file("wpforms/9-abc/other.pdf")
    wpforms(
        forms,
        {
            "1": {"id": 1, "type": "email", "value": "p@example.org"},
            "2": {"id": 2, "type": "textarea", "value": f"see {base}/other.pdf"},
            "3": {"id": 3, "type": "file-upload", "value": f"{base}/cv.pdf",
                  "value_raw": [{"value": f"{base}/cv.pdf", "file": "cv.pdf"}]},
        },
        status="spam",
    )  # fmt: skip
    target = forms.at("wpforms", "1", "status")
    (record,) = forms.found(target).values()
    assert record.fields == {"1": "p@example.org", "status": "spam"}
    assert forms.erased(target, [record.ref]) == ["disposed"]
    assert forms.levels(target, [record.ref]) == {Level.GONE}
    assert not mine.exists()
    assert other.exists()
    for table in ("entries", "entry_fields", "entry_meta"):
        assert forms.site.sql(f"SELECT COUNT(*) FROM wp_wpforms_{table}") == [(0,)]


def test_wpforms_files_in_the_media_library_keep_their_entry(forms: Forms) -> None:
    """Kept by WordPress, not by the plugin: nobody here knows whose they are by now."""
    url = "https://site.example.org/wp-content/uploads/2026/01/cv.pdf"
    wpforms(forms, {"3": {"id": 3, "type": "file-upload", "value": url}})
    target = forms.at("wpforms")
    assert forms.erased(target, forms.refs(target)) == ["failed_permanent upload-elsewhere"]


# --- sites of a network, settings, doctor -------------------------------------------------------


def test_each_site_of_a_network_by_its_prefix(forms: Forms) -> None:
    """`wp_2_` is another site: its entries, its parts, nothing of the first."""
    forms.site.plugins("wp_2_")
    forms.gravity(f1="p1@example.org")
    entry = forms.insert("wp_2_gf_entry", form_id=1, date_created="2026-01-05 10:00:00", ip="")
    forms.insert("wp_2_gf_entry_meta", form_id=1, entry_id=entry, meta_key="1", meta_value="p2")
    target = forms.at("gravity-forms", "1", prefix="wp_2_")
    (record,) = forms.found(target).values()
    assert record.fields == {"1": "p2"}
    assert forms.erased(target, [record.ref]) == ["disposed"]
    assert forms.site.sql("SELECT COUNT(*) FROM wp_2_gf_entry_meta") == [(0,)]
    assert forms.site.sql("SELECT COUNT(*) FROM wp_gf_entry_meta") == [(1,)]


@pytest.mark.parametrize(
    "said",
    [
        {"store": "flamingo", "table": "wp_posts"},
        {"store": "flamingo", "key": "ID"},
        {"store": "flamingo", "prefix": "wp_`; DROP"},
        {"store": "flamingo", "prefix": "other.wp_"},
        {"store": "formcraft"},
        {"store": "cfdb7", "uploads": {"root": "/x", "column": "y"}},
        {"table": "t"},
        {"table": "t", "key": "k", "uploads": "/x"},
        {"table": "t", "key": "k", "prefix": "wp_"},
        {},
    ],
)
def test_settings_that_make_no_sense_are_refused(said: dict[str, Any]) -> None:
    """A store or a table, never both or neither; a prefix is a plain name."""
    with pytest.raises(ValidationError):
        SqlLocation.model_validate(said)


def bad(probes: list[Probe]) -> dict[str, str]:
    return {p.check.partition(": ")[2] or p.check: p.detail for p in probes if not p.ok}


def test_doctor_tells_what_is_wrong_and_what_nobody_deletes(forms: Forms) -> None:
    """Files without a folder, backups, caches, other plugins' entries, rights beyond need."""
    site = forms.site
    site.php(
        FLAMINGO + "$add('publish', 1); return wp_insert_post(array('post_type' => 'nf_sub',"
        "'post_status' => 'publish', 'post_title' => 'x'));"
    )
    forms.cfdb7(x_cfdb7_file="a.pdf")
    site.plugins("wp_2_")
    (site.content / "updraft").mkdir()
    (site.content / "object-cache.php").write_text("<?php")
    forms.file("wpcf7_uploads/123/left.pdf")
    said = bad(forms.doctor(forms.at("flamingo")))
    assert "wp_users" in said["excess rights"]
    assert "updraft" in said["backups"]
    site.sql("CREATE TABLE wp_3_posts LIKE wp_posts")
    site.sql("CREATE TABLE wp_3_postmeta LIKE wp_postmeta")
    site.sql("INSERT INTO wp_3_posts SELECT * FROM wp_posts")
    again = bad(forms.doctor(forms.at("flamingo")))["other sites"]
    assert "wp_2_db7_forms" in again
    assert "wp_3_posts" in again
    assert {"object cache", "files left behind", "other sites"} <= said.keys()
    told = [p.detail for p in forms.doctor(forms.at("flamingo")) if p.check.endswith("not covered")]
    assert any("CFDB7" in text for text in told)
    assert any("Ninja" in text for text in told)
    assert not any("messages received" in text for text in told)
    both = forms.doctor(forms.at("flamingo"), forms.at("cfdb7", uploads=None))
    assert not any("CFDB7" in p.detail for p in both if p.check.endswith("not covered"))
    assert any(p.check == "c/cfdb7: files" and not p.ok for p in both)


def test_doctor_is_content_with_an_account_of_few_rights(forms: Forms) -> None:
    """SELECT and DELETE on exactly these tables are enough for all of it."""
    forms.file("cfdb7_uploads/a.pdf")
    forms.cfdb7(x_cfdb7_file="a.pdf")
    few = Forms(forms.site, url=forms.site.guest("SELECT, DELETE", "wp_db7_forms"))
    target = few.at("cfdb7", timezone="Europe/Oslo")
    assert bad(few.doctor(target)) == {}
    refs = few.refs(target)
    assert few.erased(target, refs) == ["disposed"]
    assert few.levels(target, refs) == {Level.GONE}
    messages = ("posts", "postmeta", "term_relationships", "comments", "commentmeta")
    url = forms.site.guest("SELECT, DELETE", *(f"wp_{name}" for name in messages))
    login = url.partition("://")[2].partition(":")[0]
    also = f"GRANT SELECT ON {forms.site.database}.wp_term_taxonomy TO {login}@'127.0.0.1'"
    forms.site.server._execute(also)
    forms.site.php(FLAMINGO + "return $add('publish', 1);")
    few = Forms(forms.site, url=url)
    target = few.at("flamingo", "your-email", timezone="Europe/Oslo")
    assert bad(few.doctor(target)) == {}
    refs = few.refs(target)
    assert few.erased(target, refs) == ["disposed"]
    assert few.levels(target, refs) == {Level.GONE}
    target = few.at("cfdb7", timezone="Europe/Oslo")
    fewer = Forms(forms.site, url=forms.site.guest("SELECT", "wp_db7_forms"))
    assert "DELETE" in bad(fewer.doctor(target))["rights"]


def test_doctor_tells_of_rows_that_two_locations_mean(forms: Forms) -> None:
    """A store and a table of its own over the same rows: rules of one do not bind the other."""
    plain = SqlLocation.model_validate({"table": "wp_posts", "key": "ID"})
    said = bad(forms.doctor(forms.at("flamingo"), Target("c/all", plain)))
    assert "c/all" in said["said twice"]


def test_doctor_tells_of_a_bin_that_is_never_emptied(forms: Forms) -> None:
    """Messages in WordPress's trash for months: somebody believes that they are gone."""
    forms.site.php(
        FLAMINGO + "$id = $add('publish', 1); wp_trash_post($id);"
        "update_post_meta($id, '_wp_trash_meta_time', time() - 100 * 86400); return 1;"
    )
    assert bad(forms.doctor(forms.at("flamingo")))["trash"].startswith("1 entries")


def test_what_only_looks_serialised_is_text(forms: Forms) -> None:
    """A visitor cannot make an entry unreadable by what is typed."""
    odd = ['a:1:{i:0;O:8:"stdClass":0:{}}', "N;hello;", "i:5 apples;", 's:99:"x";', "a:2:}", "N;"]
    for text in odd:
        forms.gravity(f1=text)
    found = forms.found(forms.at("gravity-forms", "1")).values()
    assert [r.fields["1"] for r in found] == [*odd[:-1], None]
    assert all(r.dates["received"] for r in found)
    quoted = b64encode(json.dumps(odd).encode()).decode()
    forms.site.php(
        FLAMINGO + f"foreach (json_decode(base64_decode('{quoted}')) as $n => $t) {{"
        "$add('publish', $n, array('free' => $t)); } return 1;"
    )
    found = forms.found(forms.at("flamingo", "free")).values()
    assert [r.fields["free"] for r in found] == odd
    assert all(r.dates["received"] for r in found)


def test_paths_of_uploads_may_be_relative(forms: Forms, tmp_path: Path) -> None:
    """They start in the policy folder, like other paths."""
    there = tmp_path / "uploads" / "cfdb7_uploads" / "a.pdf"
    there.parent.mkdir(parents=True)
    there.write_text("cv")
    forms.cfdb7(x_cfdb7_file="a.pdf")
    target = forms.at("cfdb7", uploads=str(tmp_path / "uploads"))
    assert forms.erased(target, forms.refs(target)) == ["disposed"]
    assert not there.exists()
