"""Scenarios of pysignalr. Usage: client.py SCENARIO PROTOCOL URL. Exits with 0, or prints the error."""

import asyncio
import sys

from pysignalr.client import SignalRClient
from pysignalr.messages import CompletionMessage
from pysignalr.protocol.json import JSONProtocol
from pysignalr.protocol.messagepack import MessagepackProtocol

scenario, protocol, base = sys.argv[1:]
PROTOCOLS = {"json": JSONProtocol, "messagepack": MessagepackProtocol}


class Client:
    """A client that queues its messages."""

    def __init__(self, url: str) -> None:
        self.signalr = SignalRClient(url, PROTOCOLS[protocol]())
        self.messages: asyncio.Queue[list] = asyncio.Queue()
        self.opened = asyncio.Event()
        self.signalr.on_open(self._open)
        self.signalr.on_error(self._ignore_error)
        self.signalr.on("addChatMessage", self.messages.put)

    async def _open(self) -> None:
        self.opened.set()

    async def _ignore_error(self, _: CompletionMessage) -> None:
        """pysignalr requires a handler for errors. The caller receives the error as well, so this one does nothing."""

    async def __aenter__(self) -> "Client":
        self.task = asyncio.create_task(self.signalr.run())
        await self.opened.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def call(self, method: str, *arguments: object) -> CompletionMessage:
        completion: asyncio.Future[CompletionMessage] = asyncio.get_running_loop().create_future()

        async def on_completion(message: CompletionMessage) -> None:
            completion.set_result(message)

        await self.signalr.send(method, list(arguments), on_completion)
        return await completion


async def calls() -> None:
    async with Client(f"{base}/chat?user=ann") as ann:
        assert (await ann.call("Add", 2, 3)).result == 5
        assert (await ann.call("Echo", "x" * 20_000)).result == "x" * 20_000
        if protocol == "messagepack":
            assert (await ann.call("Bytes", b"\x00\xff")).result == b"\x00\xff"
            assert (await ann.call("Long", -(2**63))).result == -(2**63)
            assert (await ann.call("Double", float("inf"))).result == float("inf")
        failure = await ann.call("Fail", "boom")
        assert failure.error == "An unexpected error occurred invoking 'Fail' on the server. HubException: boom", failure


async def groups() -> None:
    async with Client(f"{base}/chat?user=ann") as ann, Client(f"{base}/chat?user=bob") as bob:
        for client in (ann, bob):
            await client.call("JoinRoom", "lobby")
        await ann.call("Send", "lobby", "hello")
        for client in (ann, bob):
            assert await client.messages.get() == ["ann", "hello"]
        await bob.call("SendToOthers", "lobby", "hi")
        assert await ann.messages.get() == ["bob", "hi"]
        await bob.call("Echo", "")
        assert bob.messages.empty()


if __name__ == "__main__":
    asyncio.run({"calls": calls, "groups": groups}[scenario]())
