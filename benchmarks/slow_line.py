"""A line to a far-away server: every byte arrives, so many milliseconds later.

python -m benchmarks.slow_line LISTEN_PORT TARGET_PORT MILLISECONDS
"""

from __future__ import annotations

import asyncio
import sys

HOST = "127.0.0.1"


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
    """One direction. What is under way does not hold up what comes after it."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            at, data = await under_way.get()
            await asyncio.sleep(max(0.0, at - loop.time()))
            if not data:
                sink.close()
                return
            sink.write(data)
            await sink.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while data := await source.read(65_536):
            under_way.put_nowait((loop.time() + delay, data))
    finally:
        under_way.put_nowait((loop.time() + delay, b""))
        await delivery


async def serve(port: int, target: int, milliseconds: float) -> None:
    """Until it is killed. Half of the delay lies in each direction."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, target)
        half = milliseconds / 2_000
        await asyncio.gather(
            carry(reader, far_writer, half),
            carry(far_reader, writer, half),
            return_exceptions=True,
        )

    server = await asyncio.start_server(connected, HOST, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
