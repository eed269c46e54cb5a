"""WordPress itself, from its Debian package, on a throw-away MariaDB: installed once, then cleaned.

Form plugins are not in the package: their tables are made here as the plugins make them, and
their posts by WordPress's own functions, through PHP on the command line.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import pymysql

from tests.servers.mariadb import MariaDB
from tests.servers.process import HOST, ServerFailedError, ServerMissingError, program

HOME = Path("/usr/share/wordpress")

_BOOT = """<?php
define('DB_NAME', %(database)s); define('DB_USER', %(login)s); define('DB_PASSWORD', %(password)s);
define('DB_HOST', %(server)s); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
define('ABSPATH', %(home)s); define('WP_CONTENT_DIR', %(content)s);
define('WP_HTTP_BLOCK_EXTERNAL', true); define('DISABLE_WP_CRON', true);
define('WP_ENVIRONMENT_TYPE', 'local'); define('WP_SITEURL', 'http://site.example.org');
foreach (array('AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE') as $k) {
    define($k . '_KEY', 'for tests only'); define($k . '_SALT', 'for tests only');
}
$_SERVER['HTTP_HOST'] = 'site.example.org'; $_SERVER['REQUEST_METHOD'] = 'GET';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1'; $_SERVER['REMOTE_ADDR'] = '127.0.0.1';
$table_prefix = 'wp_';
if ($argv[2] === 'install') { define('WP_INSTALLING', true); }
require ABSPATH . 'wp-settings.php';
if ($argv[2] === 'install') {
    require_once ABSPATH . 'wp-admin/includes/upgrade.php';
    add_filter('pre_wp_mail', '__return_true');
    wp_install('Example', 'admin', 'admin@example.org', false, '', wp_generate_password());
}
register_post_type('flamingo_inbound', array('public' => false, 'supports' => array('revisions',
    'title', 'editor')));
register_post_type('flamingo_contact', array('public' => false));
register_post_status('flamingo-spam', array('public' => false));
register_taxonomy('flamingo_inbound_channel', 'flamingo_inbound', array('hierarchical' => true));
register_taxonomy('flamingo_contact_tag', 'flamingo_contact');
$answer = (function () { return require $GLOBALS['argv'][1]; })();
echo "\\n--answer--" . json_encode($answer);
"""

_PLUGINS = """
CREATE TABLE {p}db7_forms (
    form_id bigint(20) NOT NULL AUTO_INCREMENT PRIMARY KEY, form_post_id bigint(20) NOT NULL,
    form_value longtext NOT NULL, form_date datetime DEFAULT '0000-00-00 00:00:00' NOT NULL);
CREATE TABLE {p}gf_entry (
    id int(10) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    form_id mediumint(10) unsigned NOT NULL, post_id bigint(10) unsigned,
    date_created datetime NOT NULL, date_updated datetime,
    is_starred tinyint(10) NOT NULL DEFAULT 0,
    is_read tinyint(10) NOT NULL DEFAULT 0, ip varchar(39) NOT NULL,
    source_url varchar(200) NOT NULL DEFAULT '', user_agent varchar(250) NOT NULL DEFAULT '',
    currency varchar(5), payment_status varchar(15), payment_date datetime,
    created_by bigint(10) unsigned, status varchar(20) NOT NULL DEFAULT 'active',
    KEY form_id (form_id));
CREATE TABLE {p}gf_entry_meta (
    id bigint(20) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
    form_id mediumint(10) unsigned NOT NULL DEFAULT 0, entry_id bigint(20) unsigned NOT NULL,
    meta_key varchar(255), meta_value longtext, item_index varchar(60),
    KEY meta_key (meta_key(191)), KEY entry_id (entry_id));
CREATE TABLE {p}gf_entry_notes (
    id int(10) unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, entry_id int(10) unsigned NOT NULL,
    user_name varchar(250), user_id bigint(10), date_created datetime NOT NULL, value longtext,
    note_type varchar(50), sub_type varchar(50), KEY entry_id (entry_id));
CREATE TABLE {p}gf_draft_submissions (
    uuid char(32) NOT NULL PRIMARY KEY, email varchar(255), form_id mediumint(10) unsigned NOT NULL,
    date_created datetime NOT NULL, ip varchar(45) NOT NULL, source_url longtext NOT NULL,
    submission longtext NOT NULL);
CREATE TABLE {p}gf_form_meta (
    form_id mediumint(10) unsigned NOT NULL PRIMARY KEY, display_meta longtext);
CREATE TABLE {p}wpforms_entries (
    entry_id bigint(20) NOT NULL AUTO_INCREMENT PRIMARY KEY, form_id bigint(20) NOT NULL,
    post_id bigint(20) NOT NULL DEFAULT 0, user_id bigint(20) NOT NULL DEFAULT 0,
    status varchar(30) NOT NULL DEFAULT '', type varchar(30) NOT NULL DEFAULT '',
    viewed tinyint(1) DEFAULT 0, starred tinyint(1) DEFAULT 0, fields longtext NOT NULL,
    meta longtext NOT NULL DEFAULT '', date datetime NOT NULL, date_modified datetime NOT NULL,
    ip_address varchar(128) NOT NULL DEFAULT '', user_agent varchar(256) NOT NULL DEFAULT '',
    user_uuid varchar(36) NOT NULL DEFAULT '');
CREATE TABLE {p}wpforms_entry_fields (
    id bigint(20) NOT NULL AUTO_INCREMENT PRIMARY KEY, entry_id bigint(20) NOT NULL,
    form_id bigint(20) NOT NULL, field_id varchar(16) NOT NULL, value longtext NOT NULL,
    date datetime NOT NULL);
CREATE TABLE {p}wpforms_entry_meta (
    id bigint(20) NOT NULL AUTO_INCREMENT PRIMARY KEY, entry_id bigint(20) NOT NULL,
    form_id bigint(20) NOT NULL, user_id bigint(20) NOT NULL DEFAULT 0,
    status varchar(30) NOT NULL DEFAULT '', type varchar(255) NOT NULL DEFAULT '',
    data longtext NOT NULL, date datetime NOT NULL)
"""
_OWN = ("posts", "postmeta", "term_relationships", "terms", "term_taxonomy", "comments",
        "commentmeta", "options")  # fmt: skip


class WordPress:
    """One installed site. `clean` before each test brings back what was installed."""

    prefix = "wp_"

    def __init__(self, server: MariaDB) -> None:
        if not (HOME / "wp-settings.php").is_file():
            raise ServerMissingError(
                "WordPress is not installed; run tests/install-servers (Debian)"
            )
        self.server = server
        self.folder = Path(tempfile.mkdtemp(prefix="r-wordpress-"))
        self.content = self.folder / "wp-content"
        self.uploads = self.content / "uploads"
        self.uploads.mkdir(parents=True)
        self.url = server.new_database()
        self.login, _, rest = self.url.partition("://")[2].partition(":")
        self.password = rest.partition("@")[0]
        self.database = self.login
        self._boot = self.folder / "boot.php"
        said = {
            "database": self.database,
            "login": self.login,
            "password": self.password,
            "server": f"{HOST}:{server.port}",
            "home": f"{HOME}/",
            "content": str(self.content),
        }
        self._boot.write_text(_BOOT % {k: f"'{v}'" for k, v in said.items()}, encoding="utf-8")
        self.php("return 1;", mode="install")
        self.connection = self._connect()
        self.plugins(self.prefix)
        self._tables = [row[0] for row in self.sql("SHOW TABLES")]
        for name in _OWN:
            self.sql(f"CREATE TABLE kept_{name} LIKE wp_{name}")
            self.sql(f"INSERT INTO kept_{name} SELECT * FROM wp_{name}")

    def _connect(self) -> Any:
        return pymysql.connect(
            host=HOST,
            port=self.server.port,
            user=self.login,
            password=self.password,
            database=self.database,
            charset="utf8mb4",
            autocommit=True,
        )

    @classmethod
    def start(cls, server: MariaDB) -> Self:
        """Install a site."""
        return cls(server)

    def plugins(self, prefix: str) -> None:
        """Make the tables of the form plugins."""
        for statement in _PLUGINS.split(";\n"):
            self.sql(statement.format(p=prefix))

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement, committed."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def php(self, code: str, *, mode: str = "run") -> Any:
        """What PHP code returns that runs inside WordPress. Raises ServerFailedError."""
        script = self.folder / f"{secrets.token_hex(4)}.php"
        script.write_text(f"<?php\n{code}", encoding="utf-8")
        command = [
            program("php"),
            "-d",
            "display_errors=stderr",
            str(self._boot),
            str(script),
            mode,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        script.unlink()
        _, mark, answer = done.stdout.rpartition("\n--answer--")
        if done.returncode or not mark:
            raise ServerFailedError(
                f"WordPress failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return json.loads(answer)

    def clean(self) -> None:
        """As it was installed: tables, rows and folder."""
        # Some tests restart the server, or leave a transaction open.
        self.connection.close()
        self.connection = self._connect()
        for (name,) in self.sql("SHOW TABLES"):
            if name not in self._tables and not name.startswith("kept_"):
                self.sql(f"DROP TABLE `{name}`")
        for name in self._tables:
            own = name.removeprefix("wp_")
            if own in _OWN:
                self.sql(f"DELETE FROM {name}")
                self.sql(f"INSERT INTO {name} SELECT * FROM kept_{own}")
            elif own.startswith(("db7", "gf_", "wpforms")):
                self.sql(f"DELETE FROM {name}")
        for path in self.content.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.uploads.mkdir()

    def guest(self, rights: str, *tables: str) -> str:
        """URL for a login with these rights on exactly these tables."""
        url = self.server.new_login(self.url)
        name = url.partition("://")[2].partition(":")[0]
        for table in tables:
            self.server._execute(f"GRANT {rights} ON {self.database}.{table} TO {name}@'{HOST}'")
        return url

    def close(self) -> None:
        """End the connection and remove the folder; the database goes with its server."""
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)
