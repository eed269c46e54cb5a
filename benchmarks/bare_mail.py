"""What a careful person's script does to a mailbox: the peers of `bench_mailbox`.

`python -m benchmarks.bare_mail HOST PORT USER PASSWORD BEFORE BATCH [--headers]` deletes what came
before a day (`1-Jan-2026`) and prints seconds and messages as one line of JSON.
"""

from __future__ import annotations

import imaplib
import json
import sys
import time

HEADERS = "(BODY.PEEK[HEADER.FIELDS (DATE FROM MESSAGE-ID)])"


def loop(
    host: str, port: int, user: str, password: str, before: str, batch: int, *, headers: bool
) -> int:
    """SEARCH, a header of every message where asked, UID STORE, UID EXPUNGE."""
    client = imaplib.IMAP4(host, port)
    client.login(user, password)
    client.select("INBOX")
    _, data = client.uid("SEARCH", f"BEFORE {before}")
    uids = data[0].split()
    for start in range(0, len(uids), batch):
        numbers = b",".join(uids[start : start + batch]).decode()
        if headers:
            client.uid("FETCH", numbers, HEADERS)
        client.uid("STORE", numbers, "+FLAGS.SILENT", "(\\Deleted)")
        client.uid("EXPUNGE", numbers)
    client.logout()
    return len(uids)


if __name__ == "__main__":
    start = time.perf_counter()
    host, port, user, password, before, batch = sys.argv[1:7]
    headers = "--headers" in sys.argv
    done = loop(host, int(port), user, password, before, int(batch), headers=headers)
    print(json.dumps({"work": time.perf_counter() - start, "messages": done}))
