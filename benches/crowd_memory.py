#!/usr/bin/env python3
"""Measures the memory of a server before, during and after a crowd of WebSocket clients.

usage: benches/crowd_memory.py HOST:PORT PID [COUNT]

The server offers the hub of the service at /chat. COUNT clients (5,000 by default) join one room and receive 40
messages. Then they leave, half of them by a reset. The script prints the resident memory of the server at each step,
for two crowds, and the processor time of the server for each delivery. Raise the limits of file descriptors first:
`ulimit -n`.
"""
import asyncio
import os
import sys
import time

MESSAGES = 40
CONNECTING = 100  # clients that connect at a time
WAITS = (5, 15, 60)  # seconds after the crowd has left


def resident_mib(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        user, system = stat.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def frame(text):
    data = text.encode() + b"\x1e"
    assert len(data) < 126
    return b"\x81" + bytes([0x80 | len(data)]) + b"\0\0\0\0" + data


def upgrade_request(user, address):
    return (
        f"GET /chat?user={user} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class Client(asyncio.Protocol):
    deliveries = 0

    def __init__(self, user, address):
        self.user, self.address = user, address
        self.joined = asyncio.get_running_loop().create_future()
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport
        transport.write(upgrade_request(self.user, self.address))
        transport.write(frame('{"protocol":"json","version":1}'))
        transport.write(frame('{"type":1,"invocationId":"1","target":"JoinRoom","arguments":["room"]}'))

    def data_received(self, data):
        if not self.joined.done():
            self.received += data
            if b'"type":3' in self.received:
                self.joined.set_result(None)
        Client.deliveries += data.count(b"addChatMessage")

    def connection_lost(self, error):
        if not self.joined.done():
            self.joined.set_exception(ConnectionError(f"client {self.user} was refused: {self.received[:100]}"))


async def connect(address, count):
    host, port = address.rsplit(":", 1)
    gate = asyncio.Semaphore(CONNECTING)

    async def connect_one(number):
        async with gate:
            create = lambda: Client(f"u{number}", address)
            _, client = await asyncio.get_running_loop().create_connection(create, host, int(port))
            await client.joined
            return client

    return await asyncio.gather(*map(connect_one, range(count)))


async def broadcast(clients):
    Client.deliveries = 0
    for number in range(MESSAGES):
        clients[number].transport.write(frame('{"type":1,"target":"Send","arguments":["room","hello"]}'))
        deadline = time.monotonic() + 60
        while Client.deliveries < (number + 1) * len(clients):
            assert time.monotonic() < deadline, "a message has not arrived"
            await asyncio.sleep(0.005)


async def main(address, pid, count=5_000):
    count = int(count)
    print(f"idle: {resident_mib(pid):.1f} MiB", flush=True)
    for _ in range(2):
        clients = await connect(address, count)
        before = cpu_seconds(pid)
        await broadcast(clients)
        each = (cpu_seconds(pid) - before) / Client.deliveries * 1e6
        print(f"{count} clients: {resident_mib(pid):.1f} MiB, {each:.1f} µs for each delivery", flush=True)
        for number, client in enumerate(clients):
            client.transport.close() if number % 2 else client.transport.abort()
        left = time.monotonic()
        for wait in WAITS:
            await asyncio.sleep(left + wait - time.monotonic())
            print(f"{wait} s after they left: {resident_mib(pid):.1f} MiB", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
