// Scenarios of signalr-client, a third-party client of classic ASP.NET SignalR for Node. Usage: classic.mjs SCENARIO URL.
// Exits with 0, or prints the error. The client supports only WebSockets, sends no user when it negotiates, and reports
// events through callbacks.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const signalR = require("signalr-client");

const [scenario, base] = process.argv.slice(2);

const connect = () => new Promise((resolve, reject) => {
  const client = new signalR.client(`${base}/signalr`, ["chat"], 1, true);
  const received = [], waiting = [];
  client.on("chat", "addChatMessage", (_, text) => { received.push(text); waiting.splice(0).forEach((wake) => wake()); });
  const next = async () => { while (received.length === 0) await new Promise((wake) => waiting.push(wake)); return received.shift(); };
  const call = (...call) => new Promise((done, failed) => client.call("chat", ...call).done((error, result) => (error ? failed(error) : done(result))));
  client.serviceHandlers = { bound() {}, connected: () => resolve({ client, received, next, call }), onerror: reject, connectFailed: reject, disconnected() {} };
  client.start();
});

const scenarios = {
  async calls() {
    const ann = await connect();
    assert.equal(await ann.call("Add", 2, 3), 5);
    assert.equal(await ann.call("Echo", "żółw 🐢"), "żółw 🐢");
    assert.equal(await ann.call("Fail", "boom").catch((error) => error), "boom");
  },

  async groups() {
    const [ann, bob] = [await connect(), await connect()];
    for (const one of [ann, bob]) await one.call("JoinRoom", "lobby");
    await ann.call("Send", "lobby", "hello");
    for (const one of [ann, bob]) assert.equal(await one.next(), "hello");
    await bob.call("SendToOthers", "lobby", "hi");
    assert.equal(await ann.next(), "hi");
    await bob.call("Echo", "");
    assert.deepEqual(bob.received, []);
  },
};

assert.ok(scenarios[scenario], `no such scenario: ${scenario}`);
await scenarios[scenario]();
process.exit(0);
