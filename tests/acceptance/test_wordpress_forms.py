"""A whole run over a real WordPress, as a user types it: plan, approve, hold, run, audit verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.acceptance.program import typed
from tests.acceptance.shop import Zygote
from tests.connectors.wordpress_site import FLAMINGO, Forms
from tests.servers.wordpress import WordPress

POLICIES = """
organisation: {{name: Example Coaching, country: "NO", timezone: Europe/Oslo}}
systems:
  site: {{connector: sql, url: {{env: SITE_DB}}}}
clusters:
  enquiries:
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      messages: {{system: site, store: flamingo, uploads: "{uploads}",
                 dates: {{received: received}}, subject: {{email: [your-email, from_email]}}}}
      forms: {{system: site, store: cfdb7, uploads: "{uploads}", timezone: Europe/Oslo,
              dates: {{received: received}}, subject: {{email: your-email}}}}
  contacts:
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      book: {{system: site, store: flamingo-contacts, timezone: Europe/Oslo,
             dates: {{last: last_contacted}}, subject: {{email: email}}}}
policies:
  enquiries-monthly:
    applies_to: enquiries
    starting_point: received
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
  contacts-yearly:
    applies_to: contacts
    starting_point: last
    delete_at_latest: 1 year
    then: delete
    schedule: "0 3 * * *"
"""
ENTRIES = (
    FLAMINGO
    + """
foreach (array(1 => 'publish', 2 => 'flamingo-spam', 3 => 'publish', 4 => 'publish') as $n => $s) {
    $ids[$n] = $add($s, $n);
    if ($n < 4) {
        global $wpdb;
        $wpdb->update($wpdb->posts, array('post_date' => "2026-01-0$n 10:00:00",
            'post_date_gmt' => "2026-01-0$n 09:00:00"), array('ID' => $ids[$n]));
    }
}
$ids[5] = wp_insert_post(array('post_type' => 'flamingo_contact', 'post_status' => 'publish',
    'post_title' => 'p1@example.org'));
update_post_meta($ids[5], '_email', 'p1@example.org');
update_post_meta($ids[5], '_last_contacted', wp_date('Y-m-d H:i:s'));
return array_values($ids);
"""
)


def test_enquiries_of_a_web_site_go_after_a_month(
    zygote: Zygote, wordpress: WordPress, tmp_path: Path
) -> None:
    """Due messages and rows go with all they have; held and young ones, and contacts, stay."""
    forms = Forms(wordpress)
    one, spam, held, young, contact = wordpress.php(ENTRIES)
    gone, kept = (forms.file(f"cfdb7_uploads/{name}.pdf") for name in ("old", "held"))
    old = forms.cfdb7(your_email="o'hara@example.org", cvcfdb7_file="old.pdf")
    mine = forms.cfdb7(your_email="p3@example.org", cvcfdb7_file="held.pdf")
    (tmp_path / "policies").mkdir()
    text = POLICIES.format(uploads=wordpress.uploads)
    (tmp_path / "policies" / "all.yaml").write_text(text, encoding="utf-8")
    said = ""

    def ask(*words: str, code: int = 0) -> Any:
        nonlocal said
        ran = typed(zygote, tmp_path, *words, "--json", SITE_DB=wordpress.url)
        said += ran.out + ran.err
        assert ran.code == code, ran.out + ran.err
        return json.loads(ran.out) if ran.out.strip() else None

    due = {item["key"] for item in ask("plan")["items"]}
    assert due == {str(key) for key in (one, spam, held, old, mine)}
    ask("hold", "add", "--case", "C1", "--reason", "claim", "--owner", "me", "--review-by",
        "2027-06-01", "--subject", "email:P3@example.org")  # fmt: skip
    for policy in ("enquiries-monthly", "contacts-yearly"):
        ask("approve", policy)
        ask("run", policy)
    posts = "SELECT ID FROM wp_posts WHERE post_type LIKE 'flamingo%%' ORDER BY ID"
    assert [row[0] for row in wordpress.sql(posts)] == [held, young, contact]
    assert wordpress.sql("SELECT form_id FROM wp_db7_forms") == [(mine,)]
    assert (gone.exists(), kept.exists()) == (False, True)
    orphans = "SELECT COUNT(*) FROM wp_postmeta WHERE post_id NOT IN (SELECT ID FROM wp_posts)"
    assert wordpress.sql(orphans) == [(0,)]
    assert ask("audit", "verify")["ok"]
    home = b"".join(p.read_bytes() for p in (tmp_path).rglob("*") if p.is_file())
    for secret in (wordpress.password, "p1@example.org", "o'hara", "old.pdf"):
        assert secret not in said
        assert secret.encode() not in home
