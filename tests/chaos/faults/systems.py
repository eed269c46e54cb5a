"""The systems that hold records do what they were asked, and cannot say so."""

from __future__ import annotations

from typing import ClassVar

from tests.chaos.faults.base import Fault, Steps
from tests.chaos.stage import Stage


class _AnswerCut(Fault):
    """The act happens, and its answer never arrives."""

    words: ClassVar[bytes]

    def strike(self, stage: Stage) -> Steps:
        proxy = stage.world.website if self.words == b"COMMIT" else stage.world.mail
        before = proxy.cuts
        proxy.cut_answer(lambda data: self.words in data)
        stage.note(f"{self.name}: the next one")
        yield 1.0
        for _ in range(20):
            if proxy.cuts > before:
                break
            yield 0.5
        proxy.cut_answer(lambda _: False)
        stage.figures.answers_cut += proxy.cuts - before


class DatabaseAnswerCut(_AnswerCut):
    """The vendor's PostgreSQL commits a deletion and the connection breaks."""

    name, words = "answer lost (PostgreSQL)", b"COMMIT"


class MailAnswerCut(_AnswerCut):
    """The mail server expunges and the connection breaks."""

    name, words = "answer lost (IMAP)", b"EXPUNGE"
