// A TCP relay in front of a server that cuts WebSockets after a random number of bytes.
import { connect, createServer } from "node:net";

const END_OF_HEAD = "\r\n\r\n";

// A cut comes after up to 512 KiB in one direction. One of four comes within the first messages.
const MAX_BYTES = 512 * 1024;
const MAX_EARLY_BYTES = 2048;

// The length of the response that opens a WebSocket, or 0.
const headLength = (data) => data.toString("latin1", 0, 12) === "HTTP/1.1 101" ? data.indexOf(END_OF_HEAD) + END_OF_HEAD.length : 0;

// A function that returns numbers from 0 to 1, which the seed determines (mulberry32).
export const randomNumbers = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

// Starts a relay. `cuts` counts the WebSockets that it has cut; it cuts them while `mayCut` returns true. The response to an
// upgrade passes: the official client tries only once to replace a lost WebSocket.
export const startCuttingRelay = async (server, random) => {
  const { hostname, port } = new URL(server);
  const relay = { url: undefined, cuts: 0, mayCut: () => false };

  const bytesToCut = () => Math.floor(random() * (random() < 0.25 ? MAX_EARLY_BYTES : MAX_BYTES));

  // Passes the bytes before the cut on. The sockets end in order or by a reset.
  const cut = (from, to, bytes) => {
    relay.cuts += 1;
    if (random() < 0.5) to.end(bytes);
    else to.write(bytes, () => to.resetAndDestroy());
    if (random() < 0.5) from.destroy();
    else from.resetAndDestroy();
  };

  const listener = createServer((client) => {
    const upstream = connect({ host: hostname, port });
    // The number of bytes that may pass in each direction once the WebSocket is open.
    let remaining;
    let [isOpen, isCut] = [false, false];
    const forward = (from, to) => {
      from.setNoDelay(true).on("error", () => {}).on("close", () => to.end()).on("drain", () => to.resume());
      from.on("data", (data) => {
        if (isCut) return;
        const head = isOpen ? 0 : headLength(data);
        isOpen ||= from === upstream && head > 0;
        if (isOpen && relay.mayCut()) {
          remaining ??= new Map([client, upstream].map((socket) => [socket, bytesToCut()]));
          const end = head + remaining.get(from);
          remaining.set(from, end - data.length);
          isCut = end <= data.length;
          if (isCut) return cut(from, to, data.subarray(0, end));
        }
        if (!to.write(data)) from.pause();
      });
    };
    forward(client, upstream);
    forward(upstream, client);
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  relay.url = `http://127.0.0.1:${listener.address().port}`;
  return relay;
};
