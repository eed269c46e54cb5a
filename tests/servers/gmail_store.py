"""One mailbox with labels, as Google documents Gmail's IMAP: folders are views of one store.

What a client does in a folder is done to a label; what becomes of the message then depends on the
account's settings (`expunge_behaviour`, `auto_expunge`). Nothing here knows of our own client.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime

MAIL, TRASH, SPAM, GONE = "mail", "trash", "spam", "gone"

ENGLISH = {
    "\\All": "[Gmail]/All Mail",
    "\\Drafts": "[Gmail]/Drafts",
    "\\Important": "[Gmail]/Important",
    "\\Sent": "[Gmail]/Sent Mail",
    "\\Junk": "[Gmail]/Spam",
    "\\Flagged": "[Gmail]/Starred",
    "\\Trash": "[Gmail]/Trash",
}
NORWEGIAN = {
    "\\All": "[Gmail]/All e-post",
    "\\Drafts": "[Gmail]/Utkast",
    "\\Important": "[Gmail]/Viktig",
    "\\Sent": "[Gmail]/Sendt e-post",
    "\\Junk": "[Gmail]/Søppelpost",
    "\\Flagged": "[Gmail]/Stjernemerket",
    "\\Trash": "[Gmail]/Papirkurv",
}
_AS_LABEL = {"\\Inbox": "INBOX"}
_OF_SPECIAL = {
    "\\Drafts": "\\Draft",
    "\\Important": "\\Important",
    "\\Sent": "\\Sent",
    "\\Flagged": "\\Starred",
}


@dataclass(slots=True)
class Message:
    """One message. `labels`: names of folders that are labels; flags belong to the message."""

    msgid: int
    thrid: int
    data: bytes
    received: datetime
    labels: set[str]
    flags: set[str] = field(default_factory=set)
    where: str = MAIL
    chat: bool = False


@dataclass(slots=True)
class Folder:
    """A view: which messages are in it, each with a UID that is never given twice."""

    name: str
    uidvalidity: int
    special: str = ""
    shown: bool = True
    """Whether "Show in IMAP" is on for it."""
    uidnext: int = 1
    uids: dict[int, int] = field(default_factory=dict)
    """msgid → UID."""
    marked: set[int] = field(default_factory=set)
    """msgids with \\Deleted, which belongs to a folder's view alone."""


class Account:
    """The store of one account and its IMAP settings."""

    def __init__(
        self,
        *,
        expunge_behaviour: str = "archive",
        auto_expunge: bool = True,
        max_folder_size: int = 0,
        names: dict[str, str] | None = None,
    ) -> None:
        self.expunge_behaviour = expunge_behaviour
        self.auto_expunge = auto_expunge
        self.max_folder_size = max_folder_size
        self.messages: dict[int, Message] = {}
        self.folders: dict[str, Folder] = {}
        self.modseq = 1000
        self._msgids = itertools.count(1_790_000_000_000_000_001, 977)
        self._validity = itertools.count(600_000_001)
        self._folder("INBOX")
        for special, name in (names or ENGLISH).items():
            self._folder(name, special)

    # --- folders ------------------------------------------------------------------------------

    def _folder(self, name: str, special: str = "") -> Folder:
        made = self.folders[name] = Folder(name, next(self._validity), special)
        return made

    def special(self, use: str) -> Folder:
        """The folder of a special use."""
        return next(f for f in self.folders.values() if f.special == use)

    def create(self, name: str) -> Folder:
        """A new label."""
        if name in self.folders:
            raise KeyError(name)
        return self._folder(name)

    def delete(self, name: str) -> None:
        """Remove a label; its messages stay where else they are."""
        folder = self.folders[name]
        if folder.special or name == "INBOX":
            raise KeyError(name)
        del self.folders[name]
        for message in self.messages.values():
            message.labels.discard(name)

    def rename(self, old: str, new: str) -> None:
        """Give a label another name."""
        self.delete_guard(old, new)
        folder = self.folders.pop(old)
        folder.name = new
        self.folders[new] = folder
        for message in self.messages.values():
            if old in message.labels:
                message.labels.discard(old)
                message.labels.add(new)

    def delete_guard(self, old: str, new: str) -> None:
        """Raises KeyError for what Gmail does not let a client rename."""
        if self.folders[old].special or old == "INBOX" or new in self.folders:
            raise KeyError(old)

    def visible(self, name: str) -> Folder | None:
        """A folder as IMAP sees it: None where it is not shown."""
        folder = self.folders.get("INBOX" if name.upper() == "INBOX" else name)
        return folder if folder is not None and folder.shown else None

    def view(self, folder: Folder) -> list[tuple[int, int]]:
        """(UID, msgid) in the order of UIDs; a size limit shows the newest messages only."""
        found = sorted((uid, msgid) for msgid, uid in folder.uids.items())
        limit = self.max_folder_size
        if limit and len(found) > limit:
            by_date = sorted(found, key=lambda f: (self.messages[f[1]].received, f[0]))
            found = sorted(by_date[-limit:])
        return found

    # --- which view shows what ----------------------------------------------------------------

    def _member(self, folder: Folder, message: Message) -> bool:
        if message.chat:
            return False
        if folder.special == "\\Trash":
            return message.where == TRASH
        if folder.special == "\\Junk":
            return message.where == SPAM
        if folder.special == "\\All":
            return message.where == MAIL
        if folder.special == "\\Flagged":
            return message.where == MAIL and "\\Flagged" in message.flags
        return message.where == MAIL and folder.name in message.labels

    def settle(self, message: Message) -> None:
        """Bring the views up to date with one message."""
        self.modseq += 1
        for folder in self.folders.values():
            member = self._member(folder, message)
            if member and message.msgid not in folder.uids:
                folder.uids[message.msgid] = folder.uidnext
                folder.uidnext += 1
            elif not member and message.msgid in folder.uids:
                del folder.uids[message.msgid]
                folder.marked.discard(message.msgid)
        if message.where == GONE:
            self.messages.pop(message.msgid, None)

    def shown_labels(self, message: Message, but: Folder | None = None) -> list[str]:
        """X-GM-LABELS: every label but that of the selected folder."""
        out = []
        for name in sorted(message.labels):
            folder = self.folders.get(name)
            if folder is None or folder is but:
                continue
            out.append(
                "\\Inbox" if name == "INBOX" else _OF_SPECIAL.get(folder.special, folder.name)
            )
        if "\\Flagged" in message.flags and not (but and but.special == "\\Flagged"):
            out.append("\\Starred")
        return out

    def label_named(self, label: str) -> str:
        """The folder's name of a label as X-GM-LABELS spells it."""
        for special, shown in _OF_SPECIAL.items():
            if shown == label:
                return self.special(special).name
        return _AS_LABEL.get(label, label)

    # --- what clients do ----------------------------------------------------------------------

    def add(
        self,
        folder: str,
        data: bytes,
        received: datetime | None = None,
        flags: set[str] | None = None,
        *,
        thread: int | None = None,
        chat: bool = False,
    ) -> Message:
        """A message arrives in a folder."""
        msgid = next(self._msgids)
        when = received or datetime(2026, 1, 1, tzinfo=UTC)
        message = Message(msgid, thread or msgid, data, when, set(), set(flags or ()), chat=chat)
        self.messages[msgid] = message
        self._put(message, self.folders[folder])
        self.settle(message)
        return message

    def _put(self, message: Message, folder: Folder) -> None:
        if folder.special == "\\Trash":
            message.where = TRASH
            message.labels.clear()
        elif folder.special == "\\Junk":
            message.where = SPAM
            message.labels.clear()
        else:
            message.where = MAIL
            if folder.special == "\\Flagged":
                message.flags.add("\\Flagged")
            elif folder.special != "\\All":
                message.labels.add(folder.name)

    def copy(self, msgid: int, to: Folder) -> None:
        """Copying adds a label; into Trash or Spam it takes the message out of everything else."""
        message = self.messages[msgid]
        self._put(message, to)
        self.settle(message)

    def move(self, msgid: int, source: Folder, to: Folder) -> None:
        """Moving takes the source's label away and adds the other."""
        message = self.messages[msgid]
        if source is to:
            return
        message.labels.discard(source.name)
        self._put(message, to)
        self.settle(message)

    def mark(self, msgid: int, folder: Folder) -> bool:
        """Set \\Deleted in one folder; True where that alone already expunged it there."""
        folder.marked.add(msgid)
        self.modseq += 1
        if self.auto_expunge:
            self.expunge(msgid, folder)
            return True
        return False

    def expunge(self, msgid: int, folder: Folder) -> None:
        """Final in Trash and Spam; elsewhere it takes a label away, and the last one decides."""
        message = self.messages[msgid]
        folder.marked.discard(msgid)
        if folder.special in ("\\Trash", "\\Junk"):
            message.where = GONE
        elif folder.special == "\\All":
            self._last(message)
        else:
            message.labels.discard(folder.name)
            if folder.special == "\\Flagged":
                message.flags.discard("\\Flagged")
            if not self._labelled_visibly(message):
                self._last(message)
        self.settle(message)

    def _labelled_visibly(self, message: Message) -> bool:
        return any(
            f.shown and f.special != "\\All" and self._member(f, message)
            for f in self.folders.values()
        )

    def _last(self, message: Message) -> None:
        """Expunged from the last folder that IMAP shows it in."""
        if self.expunge_behaviour == "trash":
            message.where = TRASH
            message.labels.clear()
        elif self.expunge_behaviour == "deleteForever":
            message.where = GONE

    def purge(self, msgid: int) -> None:
        """Delete for ever from Gmail's own pages."""
        message = self.messages[msgid]
        message.where = GONE
        self.settle(message)
