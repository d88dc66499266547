#!/usr/bin/env python3
"""Measures the memory and the file descriptors of a server for each idle WebSocket.

usage: benches/idle_sockets.py HOST:PORT PID [COUNT]

The server offers the hub of the service at /chat. COUNT clients (9,000 by default) connect and complete the handshake.
Then they join a room, and each receives 1 MB in messages of 31,000 bytes. The script prints the growth per client after
each step. Raise the limits of file descriptors first: `ulimit -n`.
"""
import json
import os
import resource
import selectors
import socket
import struct
import sys
import time

MESSAGE = 31_000
RECEIVED = 1 << 20


def resident(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def frame(record):
    payload = (json.dumps(record, separators=(",", ":")) + "\x1e").encode()
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return b"\x81" + length + b"\0\0\0\0" + payload


def connect(host, port, number):
    client = socket.socket()
    client.bind((f"127.0.0.{1 + number % 8}", 0))
    client.connect((host, port))
    request = (f"GET /chat?user={number} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    client.sendall(request.encode())
    read_until(client, b"\r\n\r\n")
    client.sendall(frame({"protocol": "json", "version": 1}))
    read_until(client, b"{}\x1e")
    return client


def read_until(client, end):
    received = b""
    while not received.endswith(end):
        part = client.recv(4096)
        assert part, received
        received += part


def invoke(client, method, *arguments):
    client.sendall(frame({"type": 1, "invocationId": "1", "target": method, "arguments": arguments}))


def read_all(clients, length):
    """Reads at least `length` bytes from each client, and more if it is there."""
    missing, buffer = dict.fromkeys(clients, length), bytearray(1 << 20)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        while missing:
            for key, _ in selector.select(60):
                count = key.fileobj.recv_into(buffer)
                assert count, "the server has closed a connection"
                left = missing.get(key.fileobj, 0) - count
                if left > 0:
                    missing[key.fileobj] = left
                else:
                    missing.pop(key.fileobj, None)


def report(step, pid, before, count):
    time.sleep(3)
    memory, files = resident(pid) - before[0], descriptors(pid) - before[1]
    print(f"{step}: {memory / count / 1024:.2f} KiB and {files / count:.3f} descriptors per client", flush=True)


def main():
    address, pid = sys.argv[1], int(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 9_000
    host, port = address.split(":")
    # One-time allocations are not counted.
    connect(host, int(port), 0).close()
    before = resident(pid), descriptors(pid)
    clients = [connect(host, int(port), number) for number in range(count)]
    report(f"{count} idle", pid, before, count)
    for client in clients:
        invoke(client, "JoinRoom", "lobby")
        read_until(client, b"\x1e")
    report("in a room", pid, before, count)
    for _ in range(RECEIVED // MESSAGE + 1):
        invoke(clients[0], "Send", "lobby", "x" * MESSAGE)
        read_all(clients, MESSAGE)
    report("after 1 MB", pid, before, count)


main()
