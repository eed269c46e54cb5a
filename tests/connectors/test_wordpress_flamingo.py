"""Flamingo on a real WordPress: its own functions make the messages, and look for them after."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from retention.connectors.base import Bound, Condition, Level, Op
from retention.errors import PermanentFailure
from tests.connectors.wordpress_site import FLAMINGO, Forms
from tests.servers.wordpress import WordPress

ORPHANS = """
global $wpdb;
return array(
    (int) $wpdb->get_var("SELECT COUNT(*) FROM $wpdb->postmeta m LEFT JOIN $wpdb->posts p
        ON p.ID = m.post_id WHERE p.ID IS NULL"),
    (int) $wpdb->get_var("SELECT COUNT(*) FROM $wpdb->term_relationships r LEFT JOIN $wpdb->posts p
        ON p.ID = r.object_id WHERE p.ID IS NULL"),
    (int) $wpdb->get_var("SELECT COUNT(*) FROM $wpdb->comments c LEFT JOIN $wpdb->posts p
        ON p.ID = c.comment_post_ID WHERE p.ID IS NULL"),
    (int) $wpdb->get_var("SELECT COUNT(*) FROM $wpdb->commentmeta m LEFT JOIN $wpdb->comments c
        ON c.comment_ID = m.comment_id WHERE c.comment_ID IS NULL"),
    (int) $wpdb->get_var("SELECT COUNT(*) FROM $wpdb->posts a LEFT JOIN $wpdb->posts p
        ON p.ID = a.post_parent WHERE a.post_parent > 0 AND p.ID IS NULL"),
);
"""
RICH = (
    FLAMINGO
    + """
$picture = function ($parent, $name) {
    $id = wp_insert_attachment(array('post_title' => $name, 'post_mime_type' => 'image/jpeg'),
        "2026/01/$name.jpg", $parent);
    wp_update_attachment_metadata($id, array('width' => 900, 'height' => 900,
        'file' => "2026/01/$name.jpg", 'original_image' => "$name-original.jpg",
        'sizes' => array('thumbnail' => array('file' => "$name-150x150.jpg", 'width' => 150))));
    return $id;
};
$one = $add('publish', 1);
wp_update_post(array('ID' => $one, 'post_content' => 'corrected'));
$note = wp_insert_comment(array('comment_post_ID' => $one, 'comment_content' => 'called back'));
add_comment_meta($note, 'by', 'admin');
$spam = $add('flamingo-spam', 2);
$trash = $add('publish', 3);
wp_trash_post($trash);
$stays = $add('publish', 4);
$other = wp_insert_post(array('post_type' => 'post', 'post_status' => 'publish',
    'post_title' => 'News', 'post_content' => 'p1@example.org'));
update_post_meta($other, '_field_your-email', 'p1@example.org');
wp_set_object_terms($other, 'news', 'category');
return array('one' => $one, 'spam' => $spam, 'trash' => $trash, 'stays' => $stays,
    'other' => $other, 'cv' => $picture($one, 'cv'), 'logo' => $picture($other, 'logo'));
"""
)


@pytest.fixture
def forms(wordpress: WordPress) -> Forms:
    return Forms(wordpress)


def everything(site: WordPress, ids: list[int]) -> Any:
    """All that the database holds of these posts."""
    of = ",".join(map(str, ids))
    return [
        site.sql(f"SELECT * FROM wp_posts WHERE ID IN ({of}) ORDER BY ID"),
        site.sql(f"SELECT * FROM wp_postmeta WHERE post_id IN ({of}) ORDER BY meta_id"),
        site.sql(f"SELECT * FROM wp_term_relationships WHERE object_id IN ({of}) ORDER BY 1, 2"),
    ]


def test_wordpress_agrees_that_nothing_is_left_and_nothing_else_is_touched(forms: Forms) -> None:
    """Messages of every status go with meta, terms, comments, revisions, attachments and files."""
    site = forms.site
    ids = site.php(RICH)
    names = ("cv.jpg", "cv-150x150.jpg", "cv-original.jpg", "cv-300x300.jpg", "cv-scaled.jpg")
    gone = [forms.file(f"2026/01/{name}") for name in names]
    kept = [forms.file(f"2026/01/{name}") for name in ("logo.jpg", "logo-150x150.jpg", "cv2.jpg")]
    revisions = "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'revision' AND post_parent = %s"
    assert site.sql(revisions, ids["one"]) != [(0,)]
    others = [ids["stays"], ids["other"], ids["logo"], 1, 2]
    before = everything(site, others)
    target = forms.at("flamingo", "your-email", "status")
    found = forms.found(target)
    assert {r.fields["status"] for r in found.values()} == {"publish", "flamingo-spam", "trash"}
    refs = [r.ref for key, r in found.items() if key != str(ids["stays"])]
    assert sorted(r.key for r in refs) == sorted(str(ids[n]) for n in ("one", "spam", "trash"))
    assert forms.levels(target, refs) == {Level.PRESENT}
    assert set(forms.erased(target, refs)) == {"disposed"}
    assert forms.levels(target, refs) == {Level.GONE}
    assert site.php(ORPHANS) == [0, 0, 0, 0, 0]
    asked = ", ".join(str(ids[n]) for n in ("one", "spam", "trash", "cv"))
    assert site.php(f"return array_map('get_post', array({asked}));") == [None] * 4
    listing = "return array_column(get_posts(array('post_type' => 'attachment')), 'ID');"
    assert site.php(listing) == [ids["logo"]]
    assert not [path.name for path in gone if path.exists()]
    assert all(path.exists() for path in kept)
    assert everything(site, others) == before


def test_reads_what_the_form_asked(forms: Forms) -> None:
    """Fields by their names in the form, lists too, the sender, columns, and what `_meta` packs."""
    forms.site.php(
        FLAMINGO + "return $add('publish', 5, array('Odd Name!' => 'x', 'status' => 'y'));"
    )
    fields = ("your-email", "topics", "from_email", "from_name", "subject", "title", "status",
              "Odd Name!", "field:status", "_from_email", "phone")  # fmt: skip
    forms.site.sql(
        "INSERT INTO wp_postmeta (post_id, meta_key, meta_value) VALUES (1, '_form', '[tel phone]')"
    )
    (record,) = forms.found(forms.at("flamingo", *fields)).values()
    assert record.fields == {
        "your-email": "p5@example.org", "topics": ("one", "t'wo"), "from_email": "p5@example.org",
        "from_name": "Person 5", "subject": "Subject 5", "title": "Subject 5", "status": "publish",
        "Odd Name!": "x", "field:status": "y", "_from_email": "p5@example.org", "phone": None,
    }  # fmt: skip
    assert record.dates["received"] is not None


def test_a_field_that_nobody_has_is_refused(forms: Forms) -> None:
    """A mistyped subject key would find nobody's holds: refused, with near names."""
    forms.site.php(FLAMINGO + "return $add('publish', 1);")
    with pytest.raises(PermanentFailure) as caught:
        forms.found(forms.at("flamingo", "your-emial"))
    assert "`your-email`" in caught.value.hint


def test_any_change_of_the_message_is_a_change(forms: Forms) -> None:
    """A meta row changed, added or removed, a new attachment: left alone. Opening it is none."""
    site = forms.site
    ids = site.php(FLAMINGO + "return array_map(fn($n) => $add('publish', $n), range(1, 5));")
    target = forms.at("flamingo", "your-email")
    refs = forms.refs(target)
    site.php(
        f"update_post_meta({ids[0]}, '_field_your-name', 'Else');"
        f"add_post_meta({ids[1]}, '_note', 'x'); delete_post_meta({ids[2]}, '_subject');"
        f"wp_insert_attachment(array('post_title' => 'x'), '2026/01/x.pdf', {ids[3]});"
        f"update_post_meta({ids[4]}, '_edit_lock', '1:1'); return 1;"
    )
    assert forms.erased(target, refs) == ["changed"] * 4 + ["disposed"]


def test_a_message_that_became_something_else_is_left_alone(forms: Forms) -> None:
    """The number is the same, the post is another: changed, never deleted, never called gone."""
    ident = forms.site.php(FLAMINGO + "return $add('publish', 1);")
    target = forms.at("flamingo")
    refs = forms.refs(target)
    forms.site.sql("UPDATE wp_posts SET post_type = 'page' WHERE ID = %s", ident)
    assert forms.erased(target, refs) == ["changed"]
    assert forms.levels(target, refs) == {Level.PRESENT}


def test_links_with_the_same_number_keep_their_categories(forms: Forms) -> None:
    """The blogroll counts its links from one too: its categories are not the message's."""
    ident = forms.site.php(
        FLAMINGO + "$id = $add('publish', 1); $t = wp_insert_term('friends', 'link_category');"
        "global $wpdb; $wpdb->insert($wpdb->term_relationships, array('object_id' => $id,"
        "'term_taxonomy_id' => $t['term_taxonomy_id'])); return $id;"
    )
    target = forms.at("flamingo")
    refs = forms.refs(target)
    assert forms.erased(target, refs) == ["disposed"]
    assert forms.levels(target, refs) == {Level.GONE}
    left = forms.site.sql("SELECT COUNT(*) FROM wp_term_relationships WHERE object_id = %s", ident)
    assert left == [(1,)]


def test_rows_that_somebody_left_behind_are_still_there(forms: Forms) -> None:
    """A plain DELETE of the post leaves all the personal data: never called gone, then cleaned."""
    ident = forms.site.php(FLAMINGO + "return $add('publish', 1);")
    target = forms.at("flamingo")
    refs = forms.refs(target)
    forms.site.sql("DELETE FROM wp_posts WHERE ID = %s", ident)
    assert forms.levels(target, refs) == {Level.PRESENT}
    assert forms.erased(target, refs) == ["already_absent"]
    assert forms.levels(target, refs) == {Level.GONE}
    assert forms.site.php(ORPHANS) == [0, 0, 0, 0, 0]


def test_people_in_the_address_book_are_kept_by_their_last_contact(forms: Forms) -> None:
    """`_last_contacted` is in the site's own time; messages are no contacts, nor the reverse."""
    contact = forms.site.php(
        FLAMINGO + "$add('publish', 1); update_option('timezone_string', 'Europe/Oslo');"
        "$id = wp_insert_post(array('post_type' => 'flamingo_contact', 'post_status' => 'publish',"
        "'post_title' => 'p1@example.org', 'post_name' => 'p1-example.org'));"
        "foreach (array('_email' => 'p1@example.org', '_name' => 'P', '_last_contacted' =>"
        "'2026-07-01 00:30:00', '_props' => array('first_name' => 'P')) as $k => $v) {"
        "update_post_meta($id, $k, $v); } wp_set_object_terms($id, 'vip', 'flamingo_contact_tag');"
        "return $id;"
    )
    target = forms.at("flamingo-contacts", "email", "name", dates=("last_contacted",))
    (record,) = forms.found(target).values()
    assert record.ref.key == str(contact)
    assert str(record.dates["last_contacted"]) == "2026-06-30 22:30:00+00:00"
    assert record.fields == {"email": "p1@example.org", "name": "P"}
    inbound = forms.at("flamingo")
    with forms.session() as session:
        assert session.containers(target) != session.containers(inbound)
    assert forms.erased(target, [record.ref]) == ["disposed"]
    assert forms.site.php(ORPHANS) == [0, 0, 0, 0, 0]
    assert len(forms.found(inbound)) == 1


def test_many_are_read_in_few_statements(forms: Forms) -> None:
    """A page of messages costs a handful of statements, not some for each."""
    posts = [("flamingo_inbound", "", "", "", "", "", "")] * 700
    with forms.site.connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO wp_posts (post_type, post_content, post_title, post_excerpt, to_ping,"
            " pinged, post_content_filtered) VALUES (%s, %s, %s, %s, %s, %s, %s)", posts
        )  # fmt: skip
    forms.site.sql(
        "INSERT INTO wp_postmeta (post_id, meta_key, meta_value)"
        " SELECT ID, '_field_your-email', 'p@example.org' FROM wp_posts"
        " WHERE post_type = 'flamingo_inbound'"
    )
    said: list[str] = []
    target = forms.at("flamingo", "your-email")
    with forms.session() as session:
        engine: Any = session._session.engine  # type: ignore[attr-defined]  # to count statements
        event.listen(engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        records = [r for page in session.find(target) for r in page.records]
        assert len(records) == 700
        assert len(said) < 30
        said.clear()
        assert len(list(session.erase(target, [r.ref for r in records]))) == 700
    assert len(said) < 40


def test_filters_and_bounds(forms: Forms) -> None:
    """`where` on a status is pushed down, on a form's field it is left to the engine."""
    forms.site.php(FLAMINGO + "$add('publish', 1); return $add('flamingo-spam', 2);")
    only = Condition("status", Op.IN, ("flamingo-spam",))
    assert len(forms.found(forms.at("flamingo", "status", where=(only,)))) == 1
    mine = Condition("your-email", Op.IN, ("p1@example.org",))
    target = forms.at("flamingo", "your-email", where=(mine,))
    assert len(forms.found(target)) == 2
    with forms.session() as session:
        assert session.count(target) is None
        assert session.count(forms.at("flamingo")) == 2
    old = Bound("received", datetime(2020, 1, 1, tzinfo=UTC))
    assert forms.found(forms.at("flamingo", bounds=(old,))) == {}


def test_an_attachment_that_lies_elsewhere_keeps_its_message(forms: Forms) -> None:
    """A path out of the uploads, or through a link: the message stays, and says why."""
    site = forms.site
    outside = site.content / "secret.jpg"
    outside.write_text("not yours")
    (site.uploads / "link").symlink_to(site.content)
    paths = ("../secret.jpg", "link/secret.jpg", str(outside))
    for path in paths:
        site.php(
            FLAMINGO + f"$id = $add('publish', 1); $a = wp_insert_attachment(array('post_title' =>"
            f"'x'), '', $id); update_post_meta($a, '_wp_attached_file', '{path}'); return $a;"
        )
    target = forms.at("flamingo")
    assert forms.erased(target, forms.refs(target)) == ["failed_permanent upload-unsafe"] * 3
    assert outside.exists()
    assert len(forms.found(target)) == 3


def test_a_picture_that_another_post_uses_too_stays(forms: Forms) -> None:
    """Two attachments name one file: it goes with the last of them."""
    ids = forms.site.php(
        FLAMINGO + "foreach (array(1, 2) as $n) { $ids[] = $id = $add('publish', $n);"
        "$a = wp_insert_attachment(array('post_title' => 'x'), '2026/01/same.jpg', $id);"
        "wp_update_attachment_metadata($a, array('sizes' => array('m' => array('file' =>"
        "'same-300x300.jpg')))); } return $ids;"
    )
    there, small, lost = (forms.file(f"2026/01/same{n}.jpg") for n in ("", "-300x300", "-9x9"))
    target = forms.at("flamingo")
    first, second = (forms.found(target)[str(i)].ref for i in ids)
    assert forms.erased(target, [first]) == ["disposed"]
    assert all(path.exists() for path in (there, small, lost))
    assert forms.levels(target, [first]) == {Level.GONE}
    assert forms.erased(target, [second]) == ["disposed"]
    assert not any(path.exists() for path in (there, small, lost))


def test_what_looks_like_a_smaller_copy_may_be_somebody_elses(forms: Forms) -> None:
    """Another attachment of its own, named like a size of ours: stays."""
    ident = forms.site.php(
        FLAMINGO + "$id = $add('publish', 1); wp_insert_attachment(array('post_title' => 'x'),"
        "'2026/01/a.jpg', $id); wp_insert_attachment(array('post_title' => 'y'),"
        "'2026/01/a-100x100.jpg'); return $id;"
    )
    mine, other = (forms.file(f"2026/01/a{n}.jpg") for n in ("", "-100x100"))
    target = forms.at("flamingo")
    assert forms.erased(target, [forms.found(target)[str(ident)].ref]) == ["disposed"]
    assert (mine.exists(), other.exists()) == (False, True)


def test_a_hidden_table_stops_everything(forms: Forms) -> None:
    """Without rights on a table, MariaDB hides it: that must not read as "has no rows there"."""
    forms.site.php(FLAMINGO + "return $add('publish', 1);")
    tables = ("posts", "term_relationships", "comments", "commentmeta", "term_taxonomy")
    url = forms.site.guest("SELECT, DELETE", *(f"wp_{name}" for name in tables))
    with pytest.raises(PermanentFailure) as caught:
        Forms(forms.site, url=url).found(forms.at("flamingo"))
    assert "wp_postmeta" in caught.value.message


def test_masking_reaches_the_copies_that_flamingo_makes(forms: Forms) -> None:
    """The field, the same text under other names, and the text for searching are overwritten."""
    ident = forms.site.php(FLAMINGO + "return $add('publish', 1);")
    target = forms.at("flamingo", "your-email", "your-name")
    refs = forms.refs(target)
    with forms.session() as session:
        list(session.mask(target, refs, {"your-email": "gone@example.invalid"}))
        proofs = list(session.verify(target, refs, None, {"your-email": "gone@example.invalid"}))
    assert [p.level for p in proofs] == [Level.GONE]
    assert "p1@example.org" not in str(everything(forms.site, [ident]))
    assert "Person 1" in str(everything(forms.site, [ident]))
