// Sends ordered messages in both directions, while a relay cuts the WebSockets at random. Stateful reconnect must neither lose
// nor repeat one. Usage: ordered_messages.mjs FORMAT URL COUNT [SEED]. Prints the seed of the cuts if it fails. The working
// directory must contain the npm packages.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { createRequire } from "node:module";

import { randomNumbers, startCuttingRelay } from "./random_cuts.mjs";

const require = createRequire(`${process.cwd()}/`);
const signalR = require("@microsoft/signalr");
const { MessagePackHubProtocol } = require("@microsoft/signalr-protocol-msgpack");

const [format, server, countText, seedText] = process.argv.slice(2);
const count = Number(countText);
const uploadCount = count / 5;
const callCount = count / 10;
const seed = Number(seedText ?? randomInt(2 ** 32));
const room = "ordered";
// The client waits once this much is not acknowledged, which happens once a second. It sends as much after each cut.
const BUFFER_BYTES = 200_000;
const MIN_CUTS = 5;
// The test stops this process after four minutes, and would then not know its seed.
const TIME_LIMIT_MS = 220_000;

// Counts values, each of which must be the next number.
class Sequence {
  #name;
  next = 0;
  constructor(name) { this.#name = name; }
  // The client ignores exceptions of its handlers.
  add(value) { if (Number(value) !== this.next++) fail(new Error(`${this.#name}: ${value} follows ${this.next - 2}`)); }
}

const fail = (error) => { console.error(`seed ${seed}: ${error?.stack ?? error}`); process.exit(1); };
process.on("unhandledRejection", fail);

const relay = await startCuttingRelay(server, randomNumbers(seed));
const connection = new signalR.HubConnectionBuilder()
  .withUrl(`${relay.url}/stateful?user=ann`, { transport: signalR.HttpTransportType.WebSockets })
  .withHubProtocol(format === "json" ? new signalR.JsonHubProtocol() : new MessagePackHubProtocol())
  .withStatefulReconnect({ bufferSize: BUFFER_BYTES })
  .configureLogging(signalR.LogLevel.None)
  .build();
connection.onclose((error) => fail(error ?? "closed"));

// Reads a stream to its end, whose items are numbers in order.
const readStream = (name, stream) => new Promise((resolve, reject) => {
  const items = new Sequence(name);
  stream.subscribe({ next: (item) => items.add(item), error: reject, complete: () => resolve(items.next) });
});

const ticks = new Sequence("ticks");
connection.on("tick", (number) => ticks.add(number));
const echoes = new Sequence("messages");
let resolveEchoes;
connection.on("addChatMessage", (_, text) => { echoes.add(text); if (echoes.next === callCount) resolveEchoes(); });

// A stream from the server, and one to the server whose items come back.
const sendStreams = async () => {
  const subject = new signalR.Subject();
  const echoed = readStream("echoed items", connection.stream("EchoStream", subject));
  for (let number = 0; number < uploadCount; number++) subject.next(`${number}`);
  subject.complete();
  assert.equal(await readStream("items", connection.stream("Count", count, 0)), count);
  assert.equal(await echoed, uploadCount);
};

// Messages of one call, and then the messages of many calls, which come back through a group.
const sendMessages = async () => {
  await connection.invoke("Burst", uploadCount);
  assert.equal(ticks.next, uploadCount);
  await connection.invoke("JoinRoom", room);
  const received = new Promise((resolve) => { resolveEchoes = resolve; });
  for (let number = 0; number < callCount; number++) await connection.send("Send", room, `${number}`);
  await received;
};

setTimeout(() => fail(new Error(`no end after ${relay.cuts} cuts, ${ticks.next} ticks, ${echoes.next} messages`)), TIME_LIMIT_MS).unref();

try {
  await connection.start();
  // The client gives up if its handshake is cut. It takes the server's sequence message for an error if the WebSocket is lost
  // before it has received again what it knows already, because its own acknowledgement may be ahead of that.
  const buffer = connection._messageBuffer;
  relay.mayCut = () => buffer._nextReceivingSequenceId > buffer._latestReceivedSequenceId;
  await sendStreams();
  await sendMessages();
  assert.ok(relay.cuts >= MIN_CUTS, `${relay.cuts} cuts`);
} catch (error) {
  fail(error);
}
process.exit(0);
