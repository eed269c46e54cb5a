"""An IMAP server with labels for folders, written from Google's description of Gmail.

Advertises what Gmail does (no QRESYNC, no ACL) and keeps its odd rules: see `gmail_store`.
`with GmailServer() as server: account = server.user("post@example.org", "secret")`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Self

from imapclient import imap_utf7

from tests.servers.gmail_search import Keys
from tests.servers.gmail_store import Account, Folder, Message
from tests.servers.gmail_syntax import (
    Item,
    RefuseError,
    internal,
    parse,
    quoted_name,
    section_of,
)

CAPABILITIES = (
    "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE "
    "CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE "
    "APPENDLIMIT=35651584"
)
BEFORE_LOGIN = (
    "IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 SASL-IR "
    "AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER"
)


class HangUpError(Exception):
    """The connection ends here."""


class GmailServer:
    """Listens on a free port of the loopback; a thread a client; one lock for all accounts."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.passwords: dict[str, str] = {}
        self.tokens: set[str] = set()
        """Access tokens that are good for every account."""
        self.refusing = False
        self.lock = threading.RLock()
        self.heard: list[str] = []
        """Commands in order, without their tags and without what AUTHENTICATE said."""
        self.on_command: Callable[[str, bool], None] | None = None
        """Called with (command, done) before and after each; raises HangUpError to cut the line."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def user(self, name: str, password: str, **settings: Any) -> Account:
        """A new account; `settings` as for `Account`."""
        self.passwords[name] = password
        account = self.accounts[name] = Account(**settings)
        return account

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # Closing writes what is left, so the outermost lets a broken pipe go.
        with contextlib.suppress(OSError, HangUpError), client, client.makefile("rwb") as stream:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Client(self, stream).run()


class Client:
    """One connection."""

    def __init__(self, server: GmailServer, stream: Any) -> None:
        self.server = server
        self.stream = stream
        self.account: Account | None = None
        self.folder: Folder | None = None
        self.readonly = True
        self.view: list[tuple[int, int]] = []

    def run(self) -> None:
        self.say("* OK Gimap ready for requests from 127.0.0.1 test")
        while True:
            parts = self.command()
            if parts is None:
                return
            tag, name, *arguments = parts
            name = str(name).upper()
            if name == "UID":
                name = f"UID {str(arguments.pop(0)).upper()}"
            told = name if name in ("LOGIN", "AUTHENTICATE") else f"{name} {arguments}"
            hook = self.server.on_command
            if hook:
                hook(told, False)
            with self.server.lock:
                self.server.heard.append(told)
                answer = self.answer(str(name), arguments)
                if name not in ("FETCH", "STORE", "SEARCH"):
                    self.news()
            if hook:
                hook(told, True)
            self.say(f"{tag} {answer}")
            if name == "LOGOUT":
                return

    def answer(self, name: str, arguments: list[Item]) -> str:
        method = getattr(self, "do_" + name.lower().replace(" ", "_"), None)
        if method is None:
            return f"BAD Unknown command {name}"
        try:
            return method(*arguments) or "OK Success"
        except RefuseError as refused:
            return refused.said
        except TypeError:
            return "BAD Could not parse command"

    # --- lines --------------------------------------------------------------------------------

    def say(self, line: str | bytes) -> None:
        self.stream.write((line.encode("utf-8") if isinstance(line, str) else line) + b"\r\n")
        self.stream.flush()

    def command(self) -> list[Item] | None:
        """The next command, parsed; literals are asked for. None: the client is gone."""
        pieces: list[bytes] = []
        while True:
            line = self.stream.readline()
            if not line:
                return None
            line = line.rstrip(b"\r\n")
            m = re.search(rb"\{(\d+)(\+?)\}$", line)
            pieces.append(line)
            if not m:
                break
            if not m[2]:
                self.say("+ go ahead")
            pieces.append(self.stream.read(int(m[1])))
        return parse(pieces)

    def continued(self, prompt: str) -> bytes:
        self.say(f"+ {prompt}")
        return bytes(self.stream.readline().rstrip(b"\r\n"))

    def news(self) -> None:
        """Tell what other clients did to the selected folder."""
        if self.folder is None or self.account is None:
            return
        now = self.account.view(self.folder) if self.folder.name in self.account.folders else []
        gone = set(self.view) - set(now)
        for number in range(len(self.view), 0, -1):
            if self.view[number - 1] in gone:
                self.say(f"* {number} EXPUNGE")
        grown = len(now) != len(self.view) - len(gone)
        self.view = now
        if grown:
            self.say(f"* {len(now)} EXISTS")

    def mailbox(self) -> tuple[Account, Folder]:
        if self.account is None or self.folder is None:
            raise RefuseError("BAD No mailbox is selected")
        return self.account, self.folder

    def box(self) -> Account:
        if self.account is None:
            raise RefuseError("BAD Not logged in")
        return self.account

    def named(self, name: Item) -> Folder:
        found = self.box().visible(imap_utf7.decode(str(name).encode("utf-8")))
        if found is None:
            raise RefuseError(f"NO [NONEXISTENT] Unknown Mailbox: {name} (Failure)")
        return found

    # --- before and after everything ----------------------------------------------------------

    def do_capability(self) -> None:
        self.say(f"* CAPABILITY {CAPABILITIES if self.account else BEFORE_LOGIN}")

    def do_noop(self) -> None: ...
    def do_check(self) -> None: ...

    def do_id(self, *_: Item) -> None:
        self.say('* ID ("name" "GImap" "vendor" "Google, Inc." "version" "gmail_imap_test")')

    def do_enable(self, *_: Item) -> None:
        self.say("* ENABLED")

    def do_namespace(self) -> None:
        self.say('* NAMESPACE (("" "/")) NIL NIL')

    def do_logout(self) -> None:
        self.say("* BYE LOGOUT Requested")

    def do_login(self, user: Item, password: Item) -> str:
        server = self.server
        if server.refusing or server.passwords.get(str(user)) != str(password):
            return "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"
        self.account = server.accounts[str(user)]
        return f"OK {user} authenticated (Success)"

    def do_authenticate(self, mechanism: Item, initial: Item = None) -> str:
        told = str(initial).encode() if initial is not None else self.continued("")
        raw = base64.b64decode(b"" if told == b"=" else told).decode()
        match str(mechanism).upper():
            case "PLAIN":
                _, user, password = raw.split("\0")
                return self.do_login(user, password)
            case "XOAUTH2":
                m = re.fullmatch(r"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01", raw)
            case "OAUTHBEARER":
                m = re.fullmatch(
                    r"n,a=([^,]+),\x01(?:[^\x01]+\x01)*?auth=Bearer ([^\x01]+)\x01\x01", raw
                )
            case _:
                return "BAD Unknown mechanism"
        server = self.server
        if m and m[2] in server.tokens and m[1] in server.accounts and not server.refusing:
            self.account = server.accounts[m[1]]
            return f"OK {m[1]} authenticated (Success)"
        problem = {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}
        rest = self.continued(base64.b64encode(json.dumps(problem).encode()).decode())
        wanted = b"" if str(mechanism).upper() == "XOAUTH2" else base64.b64encode(b"\1")
        if rest != wanted:
            return "BAD that is no answer to an error"
        return "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)"

    # --- folders ------------------------------------------------------------------------------

    def do_list(self, *arguments: Item) -> None:
        pattern = str([a for a in arguments if isinstance(a, str)][1])
        account = self.box()
        regex = re.compile(
            "".join({"*": ".*", "%": "[^/]*"}.get(c, re.escape(c)) for c in pattern), re.DOTALL
        )
        if any(f.special and f.shown for f in account.folders.values()):
            self.say('* LIST (\\HasChildren \\Noselect) "/" "[Gmail]"')
        for folder in account.folders.values():
            if folder.shown and regex.fullmatch(folder.name):
                flags = " ".join(["\\HasNoChildren", *([folder.special] if folder.special else [])])
                self.say(f'* LIST ({flags}) "/" {quoted_name(folder.name)}')

    do_lsub = do_xlist = do_list

    def do_status(self, name: Item, items: Item) -> None:
        folder = self.named(name)
        values = {
            "MESSAGES": len(self.box().view(folder)),
            "UIDNEXT": folder.uidnext,
            "UIDVALIDITY": folder.uidvalidity,
            "UNSEEN": 0,
            "RECENT": 0,
            "HIGHESTMODSEQ": self.box().modseq,
        }
        told = " ".join(f"{i.upper()} {values[i.upper()]}" for i in items)
        self.say(f"* STATUS {quoted_name(folder.name)} ({told})")

    def _select(self, name: Item, *, readonly: bool) -> str:
        folder = self.named(name)
        self.folder, self.readonly = folder, readonly
        self.view = self.box().view(folder)
        self.say("* FLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen $NotPhishing $Phishing)")
        self.say("* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen \\*)] Flags.")
        self.say(f"* OK [UIDVALIDITY {folder.uidvalidity}] UIDs valid.")
        self.say(f"* {len(self.view)} EXISTS")
        self.say("* 0 RECENT")
        self.say(f"* OK [UIDNEXT {folder.uidnext}] Predicted next UID.")
        self.say(f"* OK [HIGHESTMODSEQ {self.box().modseq}]")
        return f"OK [READ-{'ONLY' if readonly else 'WRITE'}] {quoted_name(folder.name)} selected."

    def do_select(self, name: Item, *_: Item) -> str:
        return self._select(name, readonly=False)

    def do_examine(self, name: Item, *_: Item) -> str:
        return self._select(name, readonly=True)

    def do_create(self, name: Item) -> None:
        self._label(self.box().create, imap_utf7.decode(str(name).encode()))

    def do_delete(self, name: Item) -> None:
        self._label(self.box().delete, self.named(name).name)

    def do_rename(self, old: Item, new: Item) -> None:
        self._label(self.box().rename, self.named(old).name, imap_utf7.decode(str(new).encode()))

    def _label(self, act: Callable[..., Any], *names: str) -> None:
        try:
            act(*names)
        except KeyError:
            raise RefuseError("NO [CANNOT] Not for this folder (Failure)") from None

    def do_subscribe(self, *_: Item) -> None: ...

    def do_unselect(self) -> None:
        self.mailbox()
        self.folder, self.view = None, []

    def do_close(self) -> None:
        if not self.readonly:
            self._expunge(None)
        self.do_unselect()

    # --- messages -----------------------------------------------------------------------------

    def chosen(self, numbers: str, *, uid: bool) -> list[tuple[int, int, Message]]:
        """(sequence number, UID, message) of a set."""
        account, _ = self.mailbox()
        last = (self.view[-1][0] if uid else len(self.view)) if self.view else 0
        wanted: list[tuple[int, int]] = []
        for part in str(numbers).split(","):
            ends = [last if end == "*" else int(end) for end in part.split(":")]
            wanted.append((min(ends), max(ends)))
        out = []
        for number, (known, msgid) in enumerate(self.view, 1):
            one = known if uid else number
            if any(low <= one <= high for low, high in wanted) and msgid in account.messages:
                out.append((number, known, account.messages[msgid]))
        return out

    def do_fetch(self, numbers: Item, items: Item, *, uid: bool = False) -> None:
        wanted = [str(i).upper() for i in (items if isinstance(items, list) else [items])]
        for number, known, message in self.chosen(numbers, uid=uid):
            names = ["UID", *(w for w in wanted if w != "UID")] if uid else wanted
            parts = [self._item(name, known, message) for name in names]
            self.say(b"* %d FETCH (" % number + b" ".join(parts) + b")")

    def do_uid_fetch(self, numbers: Item, items: Item, *_: Item) -> None:
        self.do_fetch(numbers, items, uid=True)

    def flags(self, message: Message) -> str:
        _, folder = self.mailbox()
        marked = {"\\Deleted"} if message.msgid in folder.marked else set()
        return " ".join(sorted(message.flags | marked))

    def _item(self, name: str, uid: int, message: Message) -> bytes:
        account, folder = self.mailbox()

        def labels() -> list[str]:
            return account.shown_labels(message, folder)

        simple = {
            "UID": lambda: str(uid),
            "FLAGS": lambda: f"({self.flags(message)})",
            "INTERNALDATE": lambda: f'"{internal(message.received)}"',
            "RFC822.SIZE": lambda: str(len(message.data)),
            "X-GM-MSGID": lambda: str(message.msgid),
            "X-GM-THRID": lambda: str(message.thrid),
            "MODSEQ": lambda: f"({account.modseq})",
            "X-GM-LABELS": lambda: f"({' '.join(map(quoted_name, labels()))})",
        }
        if name in simple:
            return f"{name} {simple[name]()}".encode()
        m = re.fullmatch(r"BODY(\.PEEK)?\[(.*)\]", name)
        if m is None:
            raise RefuseError(f"BAD Unknown item {name}")
        if not m[1] and not self.readonly:
            message.flags.add("\\Seen")
        data = section_of(m[2], message.data)
        return b"BODY[%s] {%d}\r\n%s" % (m[2].encode(), len(data), data)

    def do_store(self, numbers: Item, *rest: Item, uid: bool = False) -> None:
        account, folder = self.mailbox()
        if self.readonly:
            raise RefuseError("NO [READ-ONLY] The folder is open for reading (Failure)")
        name, values = [r for r in rest if not (isinstance(r, list) and "UNCHANGEDSINCE" in r)]
        said = [str(v) for v in (values if isinstance(values, list) else [values])]
        how, _, silent = str(name).upper().partition(".SILENT")
        for number, known, message in self.chosen(numbers, uid=uid):
            if how.endswith("X-GM-LABELS"):
                self._relabel(message, how[0], said)
                continue
            self._reflag(message, how[0] if how[0] in "+-" else "", said)
            still = message.msgid in folder.uids and message.msgid in account.messages
            if not silent and not str(name).upper().endswith(".SILENT") and still:
                self.say(f"* {number} FETCH (UID {known} FLAGS ({self.flags(message)}))")

    def do_uid_store(self, numbers: Item, *rest: Item) -> None:
        self.do_store(numbers, *rest, uid=True)

    def _reflag(self, message: Message, sign: str, flags: list[str]) -> None:
        account, folder = self.mailbox()
        spelt = {"\\" + f[1:].capitalize() if f.startswith("\\") else f for f in flags}
        deleted, others = "\\Deleted" in spelt, spelt - {"\\Deleted"}
        if sign == "-":
            message.flags -= others
            if deleted:
                folder.marked.discard(message.msgid)
        else:
            message.flags = message.flags | others if sign else others
            if deleted:
                account.mark(message.msgid, folder)
        if message.msgid in account.messages:
            account.settle(message)

    def _relabel(self, message: Message, sign: str, labels: list[str]) -> None:
        account, _ = self.mailbox()
        for label in labels:
            if sign == "+" and label in ("\\Trash", "\\Junk", "\\Spam"):
                use = "\\Trash" if label == "\\Trash" else "\\Junk"
                account.copy(message.msgid, account.special(use))
            elif sign == "+":
                message.labels.add(account.label_named(label))
            else:
                message.labels.discard(account.label_named(label))
        account.settle(message)

    def _expunge(self, only: Iterable[int] | None) -> None:
        account, folder = self.mailbox()
        if self.readonly:
            raise RefuseError("NO [READ-ONLY] The folder is open for reading (Failure)")
        for _, msgid in list(self.view):
            if msgid in folder.marked and (only is None or msgid in set(only)):
                account.expunge(msgid, folder)

    def do_expunge(self) -> None:
        self._expunge(None)

    def do_uid_expunge(self, numbers: Item) -> None:
        self._expunge({m.msgid for _, _, m in self.chosen(numbers, uid=True)})

    def do_copy(self, numbers: Item, name: Item, *, uid: bool = False, move: bool = False) -> str:
        account, source = self.mailbox()
        to = self.named(name)
        if move and self.readonly:
            raise RefuseError("NO [READ-ONLY] The folder is open for reading (Failure)")
        told: list[tuple[int, int]] = []
        for _, known, message in self.chosen(numbers, uid=uid):
            if move:
                account.move(message.msgid, source, to)
            else:
                account.copy(message.msgid, to)
            told.append((known, to.uids[message.msgid]))
        if not told:
            return "OK Success"
        sets = (",".join(str(pair[n]) for pair in told) for n in (0, 1))
        code = f"[COPYUID {to.uidvalidity} {' '.join(sets)}]"
        if move:
            self.say(f"* OK {code}")
            return "OK (Success)"
        return f"OK {code} (Success)"

    def do_uid_copy(self, numbers: Item, name: Item) -> str:
        return self.do_copy(numbers, name, uid=True)

    def do_move(self, numbers: Item, name: Item) -> str:
        return self.do_copy(numbers, name, move=True)

    def do_uid_move(self, numbers: Item, name: Item) -> str:
        return self.do_copy(numbers, name, uid=True, move=True)

    def do_append(self, name: Item, *rest: Item) -> str:
        folder = self.named(name)
        flags = {str(f) for r in rest if isinstance(r, list) for f in r}
        texts = [str(r) for r in rest if isinstance(r, str)]
        when = datetime.strptime(texts[0].strip(), "%d-%b-%Y %H:%M:%S %z") if texts[1:] else None
        data = texts[-1].encode("utf-8", "surrogateescape")
        message = self.box().add(folder.name, data, when and when.astimezone(UTC), flags)
        return f"OK [APPENDUID {folder.uidvalidity} {folder.uids[message.msgid]}] (Success)"

    # --- searching ----------------------------------------------------------------------------

    def do_search(self, *arguments: Item, uid: bool = False) -> None:
        words = list(arguments)
        options: list[str] | None = None
        if words and str(words[0]).upper() == "RETURN":
            options = [str(w).upper() for w in words[1]] or ["ALL"]
            words = words[2:]
        keys = Keys(self, words)
        test = keys.all()
        found = [
            known if uid else number
            for number, (known, msgid) in enumerate(self.view, 1)
            if msgid in self.box().messages and test(number, known, self.box().messages[msgid])
        ]
        if options is None:
            self.say(f"* SEARCH{''.join(f' {n}' for n in found)}")
            return
        told = f'* ESEARCH (TAG "x"){" UID" if uid else ""}'
        if "COUNT" in options:
            told += f" COUNT {len(found)}"
        if found:
            told += f" MIN {found[0]}" if "MIN" in options else ""
            told += f" MAX {found[-1]}" if "MAX" in options else ""
            told += f" ALL {','.join(map(str, found))}" if "ALL" in options else ""
        self.say(told)

    def do_uid_search(self, *arguments: Item) -> None:
        self.do_search(*arguments, uid=True)
