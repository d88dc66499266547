// Scenarios of signalr-client, an older independent client for Node: older.mjs SCENARIO URL. Ends with 0, or says what
// is wrong. It knows WebSockets only, tells nobody who it is when it negotiates, and tells of events by callbacks.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(`${process.cwd()}/`);
const signalR = require("signalr-client");

const [scenario, base] = process.argv.slice(2);

const connect = () => new Promise((resolve, reject) => {
  const client = new signalR.client(`${base}/signalr`, ["chat"], 1, true);
  const heard = [], waiting = [];
  client.on("chat", "addChatMessage", (_, text) => { heard.push(text); waiting.splice(0).forEach((wake) => wake()); });
  const next = async () => { while (heard.length === 0) await new Promise((wake) => waiting.push(wake)); return heard.shift(); };
  const call = (...call) => new Promise((done, failed) => client.call("chat", ...call).done((error, result) => (error ? failed(error) : done(result))));
  client.serviceHandlers = { bound() {}, connected: () => resolve({ client, heard, next, call }), onerror: reject, connectFailed: reject, disconnected() {} };
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
    assert.deepEqual(bob.heard, []);
  },
};

assert.ok(scenarios[scenario], `no such scenario: ${scenario}`);
await scenarios[scenario]();
process.exit(0);
