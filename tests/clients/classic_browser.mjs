// Scenarios of the official jQuery client in Chromium. Usage: classic_browser.mjs SCENARIO URL. Exits with 0, or prints the
// error.
import assert from "node:assert/strict";

import { base, newPage, require, run } from "./chromium.mjs";
import { startProxy } from "./proxy.mjs";

// Runs in the page: one client, and a log of its messages and state changes, in order.
const installClient = () => {
  const events = [], waiting = [];
  const record = (line) => { events.push(line); waiting.splice(0).forEach((wake) => wake()); };
  window.client = {
    events,
    record,
    async waitFor(line) {
      while (!events.includes(line)) await new Promise((resolve) => waiting.push(resolve));
    },
    async next() {
      while (events.length === 0) await new Promise((resolve) => waiting.push(resolve));
      return events.shift();
    },
    start(user, transport) {
      const connection = window.client.connection = $.hubConnection("/signalr", { useDefaultPath: false, qs: { user } });
      const chat = window.client.chat = connection.createHubProxy("chat");
      chat.on("addChatMessage", (name, text) => record(`${name}: ${text}`));
      for (const event of ["connectionSlow", "reconnecting", "reconnected", "disconnected"]) connection[event](() => record(event));
      return new Promise((resolve, reject) => connection.start(transport ? { transport } : {}).done(resolve).fail(reject))
        .then(() => connection.transport.name);
    },
    call: (...call) => new Promise((resolve, reject) => window.client.chat.invoke(...call).done(resolve).fail(reject)),
    callError: (...call) => window.client.call(...call).then(() => "it must fail", ({ message, source, data }) => ({ message, source, data })),
    progress: (steps) => new Promise((resolve, reject) => {
      const reports = [];
      window.client.chat.invoke("Work", steps).progress((report) => reports.push(report)).done((result) => resolve({ reports, result })).fail(reject);
    }),
  };
};

// Opens a page of `origin` and installs the client in it.
const open = async (origin, { withoutEventSource = false, proxies = false } = {}) => {
  const page = await newPage();
  if (withoutEventSource) await page.addInitScript(() => { delete window.EventSource; });
  await page.goto(`${origin}/signalr/ping`); // any page of that origin will do
  for (const script of ["jquery/dist/jquery.js", "signalr/jquery.signalR.js"]) await page.addScriptTag({ path: require.resolve(script) });
  if (proxies) await page.addScriptTag({ url: `${origin}/signalr/hubs` });
  await page.evaluate(installClient);
  const on = (method) => (...args) => page.evaluate(([method, args]) => window.client[method](...args), [method, args]);
  return { page, start: on("start"), call: on("call"), callError: on("callError"), progress: on("progress"), next: on("next"), waitFor: on("waitFor") };
};

const openAndJoin = async (origin, user, transport, room) => {
  const client = await open(origin, { withoutEventSource: transport === "foreverFrame" });
  assert.equal(await client.start(user, transport), transport);
  await client.call("JoinRoom", room);
  return client;
};

// The network of a client is down while another client sends messages, and is then restored.
const surviveOutage = async (transport) => {
  const proxy = await startProxy(base);
  const [ann, bob] = [await openAndJoin(proxy.origin, "ann", transport, transport), await openAndJoin(base, "bob", "webSockets", transport)];
  await bob.call("Send", transport, "before");
  assert.equal(await ann.next(), "bob: before");
  proxy.cut();
  assert.equal(await ann.next(), "reconnecting");
  for (const text of ["one", "two", "three"]) await bob.call("Send", transport, text);
  proxy.restore();
  const lines = [];
  for (let turn = 0; turn < 4; turn++) lines.push(await ann.next());
  assert.deepEqual(lines.filter((line) => line !== "reconnected"), ["bob: one", "bob: two", "bob: three"]);
  assert.ok(lines.includes("reconnected"));
  await bob.call("Send", transport, "after");
  assert.equal(await ann.next(), "bob: after");
  assert.equal(await ann.call("Add", 2, 3), 5);
  console.log("restored");
};

// The server sends keep-alives every 2 s. Without them, the client reports a slow connection, and after 4 s a lost one.
const detectSilence = async (transport) => {
  const proxy = await startProxy(base);
  const ann = await openAndJoin(proxy.origin, "ann", transport, transport);
  proxy.silence();
  // On a busy machine the client may have reported a slow connection before.
  const lines = [await ann.next()];
  while (lines.at(-1) === "connectionSlow") lines.push(await ann.next());
  assert.equal(lines[0], "connectionSlow");
  assert.equal(lines.at(-1), "reconnecting");
  proxy.restore();
  assert.equal(await ann.next(), "reconnected");
  assert.equal(await ann.call("Add", 2, 3), 5);
  console.log("restored");
};

const scenarios = {
  async transports() {
    for (const transport of ["webSockets", "serverSentEvents", "longPolling", "foreverFrame"]) {
      const [ann, bob] = [await openAndJoin(base, "ann", transport, transport), await openAndJoin(base, "bob", transport, transport)];
      assert.equal(await ann.call("Add", 2, 3), 5);
      assert.equal(await ann.call("Echo", "żółw </script> \u2028 🐢"), "żółw </script> \u2028 🐢");
      await ann.call("Send", transport, "<b>hello</b>");
      for (const one of [ann, bob]) assert.equal(await one.next(), "ann: <b>hello</b>");
      await bob.call("LeaveRoom", transport);
      await ann.call("Send", transport, "who is left");
      await ann.call("SendToUser", "bob", "you are not");
      assert.equal(await ann.next(), "ann: who is left");
      assert.equal(await bob.next(), "ann: you are not");
      assert.deepEqual(await ann.callError("Fail", "boom"), { message: "boom", source: "HubException", data: undefined });
      assert.deepEqual(await ann.callError("FailData", "why"), { message: "why", source: "HubException", data: { code: 7, why: "why" } });
      const { message } = await ann.callError("Crash");
      assert.equal(message, "There was an error invoking Hub method 'chat.Crash'.");
      assert.deepEqual(await ann.page.evaluate(async () => {
        client.chat.state.color = "red";
        const before = await client.call("ReadState");
        await client.call("WriteState", "blue");
        return [before, client.chat.state.color];
      }), ["red", "blue"]);
      assert.equal((await ann.progress(3)).result, "done");
      await ann.page.evaluate(() => client.connection.stop());
      assert.equal(await ann.next(), "disconnected");
      await bob.page.close();
      console.log(transport);
    }
  },

  async transportSelection() {
    const ann = await open(base);
    assert.equal(await ann.start("ann"), "webSockets");
    const eve = await open(base);
    const refused = await eve.page.evaluate(() => client.start("eve", "foreverFrame").then(() => "started", ({ message }) => message));
    assert.match(refused, /transport/i, "the jQuery client refuses foreverFrame where EventSource exists");
  },

  async proxies() {
    const ann = await open(base, { proxies: true });
    const results = await ann.page.evaluate(async () => {
      const { hub, chat } = $.connection;
      hub.qs = { user: "ann" };
      const message = new Promise((resolve) => { chat.client.addChatMessage = (...values) => resolve(values); });
      await hub.start();
      await chat.server.joinRoom("lobby");
      await chat.server.send("lobby", "through a proxy");
      return [await message, await chat.server.add(2, 3)];
    });
    assert.deepEqual(results, [["ann", "through a proxy"], 5]);
  },

  // The transports run in parallel, each over its own proxy, because the client takes seconds to detect a loss and to retry.
  networkOutage: () => Promise.all(["webSockets", "serverSentEvents", "longPolling"].map(surviveOutage)),
  silentNetwork: () => Promise.all(["webSockets", "serverSentEvents"].map(detectSilence)),

  async oversizedMessage() {
    const ann = await open(base);
    await ann.start("ann", "webSockets");
    await ann.page.evaluate(() => {
      const { connection, chat, record } = window.client;
      connection.error(() => record("error"));
      chat.invoke("Echo", "x".repeat(70_000)).fail(() => record("call failed"));
    });
    for (const event of ["error", "call failed", "reconnected"]) await ann.waitFor(event);
    assert.equal(await ann.call("Echo", "short"), "short");
  },

  // The test that reads this script's output kills and restarts the server after "ready".
  async serverRestart() {
    const ann = await openAndJoin(base, "ann", "webSockets", "lobby");
    console.log("ready");
    await ann.waitFor("reconnected");
    await ann.call("Send", "lobby", "after");
    await ann.waitFor("ann: after");
  },
};

await run(scenarios);
