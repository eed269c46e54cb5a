"""What the faults are made with does what it says: clocks, disks, a proxy before Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.chaos import clocks
from tests.chaos.clocks import Clocks
from tests.chaos.disk import Disk, disk_in
from tests.chaos.programs import environment
from tests.chaos.wakeups import WakeUps
from tests.servers.redis import Redis

_ASK = """
import time
from datetime import UTC, datetime
began = time.monotonic()
time.sleep(0.2)
print(datetime.now(UTC).timestamp(), time.time(), time.monotonic() - began)
"""


@pytest.mark.parametrize("step", [-7200.0, 0.0, 300.0])
def test_a_stepped_clock_moves_the_time_of_day_and_no_timer(tmp_path: Path, step: float) -> None:
    """As on a machine whose clock was set: sleeps last as long as they should."""
    world = Clocks(tmp_path / "clocks")
    variables = environment({}) | world.environment("one")
    world.step("one", step)
    asked = subprocess.Popen(
        [sys.executable, "-c", _ASK], env=variables, stdout=subprocess.PIPE, text=True
    )
    said = asked.communicate(timeout=60)[0].split()
    clocks.forget(asked.pid)
    shown, plain, slept = map(float, said)
    assert abs(shown - time.time() - step) < 5
    assert abs(plain - shown) < 1
    assert 0.19 < slept < 2


def test_a_power_cut_loses_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    """Where this account can mount a disk, what fsync promised is there afterwards."""
    disk = disk_in(tmp_path, 16)
    try:
        for name, synced in (("promised", True), ("hoped", False)):
            with (disk.path / name).open("wb") as file:
                file.write(b"x" * 5000)
                file.flush()
                if synced:
                    os.fsync(file.fileno())
        _cut(disk)
        assert (disk.path / "promised").read_bytes() == b"x" * 5000
        assert (disk.path / "hoped").exists() is not disk.real
    finally:
        disk.close()


def _cut(disk: Disk) -> None:
    disk.cut()
    disk.restore()


def test_a_full_disk_takes_no_byte_more_until_it_is_freed(tmp_path: Path) -> None:
    """Nobody finds a reserved block, not even root."""
    disk = disk_in(tmp_path, 16)
    try:
        if disk.real:
            disk.fill()
            with pytest.raises(OSError, match="No space left"):
                (disk.path / "more").write_bytes(b"x" * 5000)
            disk.free()
        assert (disk.path / "more").write_bytes(b"x" * 5000) == 5000
    finally:
        disk.close()


def test_wake_ups_are_lost_and_doubled_and_answers_stay_in_step(redis_server: Redis) -> None:
    """Of many messages about a tenth is lost and a fifth doubled; other commands pass unchanged."""
    from redis import Redis as Client

    proxy = WakeUps(redis_server.port, Random(1))
    database = int(redis_server.new_database().rpartition("/")[2])
    client = Client(host=proxy.host, port=proxy.port, db=database)
    try:
        for number in range(300):
            assert isinstance(client.lpush("x:retention.website", str(number)), int)
            assert client.set("beside", number) is True
        assert client.get("beside") == b"299"
        arrived = client.llen("x:retention.website")
        assert proxy.passed + proxy.dropped + proxy.doubled == 300
        assert arrived == proxy.passed + 2 * proxy.doubled
        assert 10 < proxy.dropped < 60
        assert 30 < proxy.doubled < 90
    finally:
        client.close()
        proxy.close()
