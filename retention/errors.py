"""Everything that can go wrong, by cause: one exit code each, one clear sentence, one hint.

No message here may carry personal data or a secret: messages reach terminals, logs and mails.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller. Printed in every `--help`; a contract."""

    OK = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNVERIFIED = 3
    LIMIT = 4
    STALE = 5
    WITHHELD = 6
    OVERDUE = 7
    CHANGES = 8
    UNREACHABLE = 10
    BUSY = 11
    REFUSED = 12
    AUDIT_UNWRITABLE = 13
    BUG = 70
    INTERRUPTED = 130


EXIT_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "ok",
    ExitCode.CHECK_FAILED: "the check says no",
    ExitCode.USAGE: "usage",
    ExitCode.UNVERIFIED: "some records failed or are unverified",
    ExitCode.LIMIT: "stopped by a limit",
    ExitCode.STALE: "plan stale or drifted",
    ExitCode.WITHHELD: "held, frozen or not approved",
    ExitCode.OVERDUE: "overdue records exist",
    ExitCode.CHANGES: "changes pending",
    ExitCode.UNREACHABLE: "ledger or broker unreachable",
    ExitCode.BUSY: "another run holds it",
    ExitCode.REFUSED: "a system refused the credentials",
    ExitCode.AUDIT_UNWRITABLE: "audit log unwritable",
    ExitCode.BUG: "bug",
    ExitCode.INTERRUPTED: "interrupted",
}


class RetentionError(Exception):
    """Base of every error that a user should read as one sentence with a hint.

    `code` is a short stable word for machines; `place` is where (file:line:col, a policy, a
    location, a system); never personal data.
    """

    exit_code: ExitCode = ExitCode.BUG
    code: str = "error"

    def __init__(
        self, message: str, *, hint: str = "", place: str = "", code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message} [{self.code}]{hint}"


class UsageError(RetentionError):
    """The caller asked for something that does not exist or makes no sense."""

    exit_code = ExitCode.USAGE
    code = "usage"


class PolicyError(RetentionError):
    """The policy files do not load, or validation found errors."""

    exit_code = ExitCode.CHECK_FAILED
    code = "policy"


class LimitExceeded(RetentionError):
    """The plan is larger than its policy's limits allow; nothing was done."""

    exit_code = ExitCode.LIMIT
    code = "limit"


class PlanStale(RetentionError):
    """A plan file no longer fits the policies, has expired, or its records drifted."""

    exit_code = ExitCode.STALE
    code = "stale"


class Withheld(RetentionError):
    """Held, frozen or not approved: disposal is suspended on purpose."""

    exit_code = ExitCode.WITHHELD
    code = "withheld"


class LedgerUnreachable(RetentionError):
    """The ledger's database cannot be opened, read or written."""

    exit_code = ExitCode.UNREACHABLE
    code = "ledger"


class LedgerMoved(LedgerUnreachable):
    """The ledger was upgraded by a newer version while this process ran: it must end."""

    code = "ledger-moved"


class AuditBlocked(LedgerUnreachable):
    """The ledger takes no entries of the log now: its disk is full, or it is read-only.

    No audit, no act. It passes when there is room again, so a service waits for that.
    """

    exit_code = ExitCode.AUDIT_UNWRITABLE
    code = "audit-blocked"


class Busy(RetentionError):
    """Another process holds the lease of this run."""

    exit_code = ExitCode.BUSY
    code = "busy"


class AuditUnwritable(RetentionError):
    """The log cannot be appended to, or no longer fits its last checkpoint. No audit, no act."""

    exit_code = ExitCode.AUDIT_UNWRITABLE
    code = "audit"


class FenceLost(RetentionError):
    """This process's claim on a run was taken over; what it still wanted to write is refused."""

    exit_code = ExitCode.BUSY
    code = "fenced"


class ConnectorError(RetentionError):
    """A system failed. `permanent` is the one bit that drives retry: trying again cannot help."""

    exit_code = ExitCode.UNVERIFIED
    code = "system"
    permanent: bool = False


class TemporaryFailure(ConnectorError):
    """Worth another try: time-out, connection lost, 5xx, locked file."""

    code = "temporary"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        place: str = "",
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, place=place, code=code)
        self.retry_after = retry_after
        """Seconds that the system asked us to wait, if it said so."""


class PermanentFailure(ConnectorError):
    """Trying again cannot help: a missing table, two header rows, a folder that vanished."""

    code = "permanent"
    permanent = True


class CredentialsRefused(PermanentFailure):
    """The system does not accept our credentials, or they lack a right that is needed."""

    exit_code = ExitCode.REFUSED
    code = "credentials"
