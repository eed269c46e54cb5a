"""Personal assistance: MariaDB and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from retention.run.home import Home
from tests.acceptance.sets.stores import Database
from tests.acceptance.sets.world import World, copied, hold, withdraw
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

LEAVES, STAYS, SUED = "ada@example.com", "bo@example.com", "cia@example.com"
PERSON = "id INT PRIMARY KEY, created_at DATETIME, email VARCHAR(80)"


def care(to: Path, mariadb: MariaDB, postgres: Postgres) -> World:
    """A court order protects one buyer; one recipient of marketing withdraws consent."""
    site, shop = Database(mariadb.new_database()), Database(mariadb.new_database())
    records = Database(postgres.new_database())
    site.fill(
        "contact_form",
        f"{PERSON}, message TEXT",
        (1, "2024-08-01 10:00:00", LEAVES, "a question"),
        (2, "2024-12-01 10:00:00", STAYS, "another"),
        (3, "2026-09-01 10:00:00", STAYS, "a third"),
    )
    for database, table in ((site, "subscribers"), (shop, "catalogue_addresses")):
        database.fill(
            table,
            PERSON,
            (1, "2025-01-01 10:00:00", LEAVES),
            (2, "2025-01-01 10:00:00", STAYS),
            (3, "2025-01-01 10:00:00", SUED),
        )
    shop.fill(
        "orders",
        "id INT PRIMARY KEY, paid_on DATE, email VARCHAR(80)",
        (1, "2020-03-01", LEAVES),
        (2, "2020-04-01", SUED),
        (3, "2021-03-01", LEAVES),
        (4, "2026-03-01", STAYS),
    )
    shop.fill(
        "order_lines",
        "id INT PRIMARY KEY, order_id INT, goods VARCHAR(20)",
        *((number, (number + 1) // 2, "socks") for number in range(1, 9)),
    )
    shop.fill(
        "visitors",
        "id INT PRIMARY KEY, first_visit DATE, last_visit DATE, cookie_id VARCHAR(20)",
        (1, "2024-01-01", "2024-08-01", "c1"),
        (2, "2025-01-01", "2026-01-01", "c2"),
        (3, "2021-01-01", "2026-09-01", "c3"),
        (4, "2026-09-01", "2026-09-01", "c4"),
    )
    records.fill(
        "assisted",
        "id INT PRIMARY KEY, customer_no TEXT, health TEXT",
        (1, "k1", "…"),
        (2, "k2", "…"),
    )
    records.fill(
        "timesheets",
        "id INT PRIMARY KEY, worked_on DATE, employee_no TEXT",
        (1, "2022-05-01", "e1"),
        (2, "2023-05-01", "e1"),
        (3, "2026-05-01", "e2"),
    )

    def orders(home: Home) -> None:
        withdraw(home, LEAVES, "marketing and profiling")
        hold(home, SUED)

    return World(
        copied("care", to),
        {
            "CARE_WEBSITE_DB": site.url,
            "CARE_SHOP_DB": shop.url,
            "CARE_RECORDS_DB": records.url,
        },
        seen=lambda: {
            "contact_form": site.column("contact_form"),
            "subscribers": site.column("subscribers"),
            "catalogue": shop.column("catalogue_addresses"),
            "orders": shop.column("orders"),
            "order_lines": shop.column("order_lines", "order_id"),
            "visitors": shop.column("visitors"),
            "assisted": records.column("assisted"),
            "timesheets": records.column("timesheets"),
        },
        left={
            "contact_form": {2, 3},
            "subscribers": {2, 3},
            "catalogue": {2, 3},
            "orders": {2, 3, 4},
            "order_lines": {2, 3, 4},
            "visitors": {2, 4},
            # Two years since when? Nothing is deleted until somebody says so.
            "assisted": {1, 2},
            "timesheets": {2, 3},
        },
        orders=orders,
        suppressing={"marketing-consent"},
    )
