"""A connection between two launchers, with signs of life."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

BEAT = 1.0
"""Seconds between two signs of life."""
SILENCE = 5.0
"""Seconds without one after which a node is lost; a killed launcher is known to be so at once."""
_T = TypeVar("_T")


class Link:
    """A connection to another launcher, over which both send messages and signs of life."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; it is lost if the connection is."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what comes until the other one is lost."""
        beats = asyncio.get_running_loop().create_task(self._beat())
        try:
            while True:
                if message := await self._message():
                    yield message
        except (OSError, ValueError):
            pass
        finally:
            beats.cancel()
            self.close()

    async def answer(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            OSError: there is none in time.
            ValueError: the other one is no launcher.
        """
        message = await self._message()
        if not isinstance(message, dict):
            raise ValueError(f"no message of a launcher: {message!r}")
        return message

    async def reply(self) -> dict[str, Any]:
        """Return the next message of what should be a launcher.

        Raises:
            OSError: there is none in time, or another program has answered.
        """
        try:
            return await self.answer()
        except ValueError as error:
            raise ConnectionError("another program listens there") from error

    async def _message(self) -> Any:
        line = await in_time(self._reader.readline())
        if not line.endswith(b"\n"):
            raise ConnectionError("the connection was closed within a message")
        return json.loads(line)

    async def read(self, size: int) -> bytes:
        """Return the next bytes, at most so many.

        Raises:
            OSError: there are none in time.
        """
        return await in_time(self._reader.read(size))

    async def send_file(self, path: Path) -> None:
        """Send the size of a file as a message, and then the file."""
        with path.open("rb") as file:
            self.send({"size": os.fstat(file.fileno()).st_size})
            await self._writer.drain()
            await asyncio.get_running_loop().sendfile(self._writer.transport, file)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def _beat(self) -> None:
        while True:
            self.send({})
            await asyncio.sleep(BEAT)


async def in_time(something: Awaitable[_T]) -> _T:
    """Wait for something that another launcher gives.

    Raises:
        OSError: there is nothing, or not in time.
    """
    try:
        async with asyncio.timeout(SILENCE):  # `wait_for` of Python 3.11 may swallow that its task is cancelled
            given = await something
    except TimeoutError:
        raise ConnectionError(f"no answer for {SILENCE:g} s") from None
    if not given:
        raise ConnectionError("the connection was closed")
    return given
