"""What the test IMAP server is told, in the syntax of Dovecot 2.3 and of 2.4."""

from __future__ import annotations

import grp
import os
from pathlib import Path

from tests.servers.process import HOST, account, as_root

_COMMON = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = {host}
ssl = yes
auth_failure_delay = 0
mail_max_userip_connections = 100
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
mail_uid = {mail_uid}
mail_gid = {mail_gid}
first_valid_uid = 1
first_valid_gid = 0
last_valid_uid = 0
last_valid_gid = 0
mail_fsync = {fsync}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
  # Each refused password would make the next one slower.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  mailbox Sent {{
    auto = create
    special_use = \\Sent
  }}
  mailbox Trash {{
    auto = create
    special_use = \\Trash
  }}
  mailbox Drafts {{
    auto = create
    special_use = \\Drafts
  }}
  mailbox Junk {{
    auto = create
    special_use = \\Junk
  }}
}}
"""
_SYNTAX_2_3 = """
disable_plaintext_auth = no
ssl_cert = <{certificate}
ssl_key = <{key}
mail_home = {folder}/mail/%u
mail_location = {storage}:~/{mail_folder}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/passwords/%u
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/app-passwords/%u
}}
userdb {{
  driver = static
  args = home={folder}/mail/%u
}}
"""
_SYNTAX_2_4 = """
auth_allow_cleartext = yes
ssl_server_cert_file = {certificate}
ssl_server_key_file = {key}
mail_home = {folder}/mail/%{{user}}
mail_driver = {storage}
mail_path = ~/{mail_folder}
passdb passwords {{
  driver = passwd-file
  passwd_file_path = {folder}/passwords/%{{user}}
}}
passdb app-passwords {{
  driver = passwd-file
  passwd_file_path = {folder}/app-passwords/%{{user}}
}}
userdb static {{
}}
"""
MAIL_FOLDERS = {"maildir": "Maildir", "mdbox": "mdbox", "sdbox": "sdbox"}


def configuration(
    version: str,
    folder: Path,
    *,
    port: int,
    tls_port: int,
    certificate: Path,
    key: Path,
    storage: str,
    separator: str,
    durable: bool,
) -> str:
    """The text of dovecot.conf; run by root it uses Dovecot's own accounts, else only ours."""
    old = version.startswith("2.3")
    head = "" if old else "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
    root = as_root()
    return (head + _COMMON + (_SYNTAX_2_3 if old else _SYNTAX_2_4)).format(
        folder=folder,
        host=HOST,
        port=port,
        tls_port=tls_port,
        certificate=certificate,
        key=key,
        storage=storage,
        mail_folder=MAIL_FOLDERS[storage],
        separator=separator,
        fsync="optimized" if durable else "never",
        internal="dovecot" if root else account(),
        internal_group="dovecot" if root else grp.getgrgid(os.getegid()).gr_name,
        login="dovenull" if root else account(),
        mail_uid="mail" if root else os.geteuid(),
        mail_gid="mail" if root else os.getegid(),
    )
