// Scenarios of web pages in Chromium: browser.mjs SCENARIO URL. Ends with 0, or says what is wrong. The pages of the
// older generation run its official client, jQuery's; the server's own page runs as it is.
// It is started where the packages are, so that the repository holds none of them.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import net from "node:net";

const require = createRequire(`${process.cwd()}/`);
const { chromium } = require("playwright-core");

const [scenario, base] = process.argv.slice(2);
const PATIENCE = 180_000;
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args, timeout: PATIENCE });

// What runs in the page: one client, and everything that happens to it, in order.
const inPage = () => {
  const happened = [], waiting = [];
  const note = (line) => { happened.push(line); waiting.splice(0).forEach((wake) => wake()); };
  window.client = {
    happened,
    note,
    async until(line) {
      while (!happened.includes(line)) await new Promise((resolve) => waiting.push(resolve));
    },
    async next() {
      while (happened.length === 0) await new Promise((resolve) => waiting.push(resolve));
      return happened.shift();
    },
    start(user, transport) {
      const connection = window.client.connection = $.hubConnection("/signalr", { useDefaultPath: false, qs: { user } });
      const chat = window.client.chat = connection.createHubProxy("chat");
      chat.on("addChatMessage", (name, text) => note(`${name}: ${text}`));
      for (const event of ["connectionSlow", "reconnecting", "reconnected", "disconnected"]) connection[event](() => note(event));
      return new Promise((resolve, reject) => connection.start(transport ? { transport } : {}).done(resolve).fail(reject))
        .then(() => connection.transport.name);
    },
    call: (...call) => new Promise((resolve, reject) => window.client.chat.invoke(...call).done(resolve).fail(reject)),
    fails: (...call) => window.client.call(...call).then(() => "it must fail", ({ message, source, data }) => ({ message, source, data })),
    progress: (steps) => new Promise((resolve, reject) => {
      const reports = [];
      window.client.chat.invoke("Work", steps).progress((report) => reports.push(report)).done((result) => resolve({ reports, result })).fail(reject);
    }),
  };
};

// A page of `origin` with the client in it.
const open = async (origin, { withoutEventSource = false, proxies = false } = {}) => {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => { console.error(error); process.exit(1); });
  if (withoutEventSource) await page.addInitScript(() => { delete window.EventSource; });
  await page.goto(`${origin}/signalr/ping`); // any page of that origin does
  for (const script of ["jquery/dist/jquery.js", "signalr/jquery.signalR.js"]) await page.addScriptTag({ path: require.resolve(script) });
  if (proxies) await page.addScriptTag({ url: `${origin}/signalr/hubs` });
  await page.evaluate(inPage);
  const on = (method) => (...args) => page.evaluate(([method, args]) => window.client[method](...args), [method, args]);
  return { page, start: on("start"), call: on("call"), fails: on("fails"), progress: on("progress"), next: on("next"), until: on("until") };
};

const enter = async (origin, user, transport, room) => {
  const client = await open(origin, { withoutEventSource: transport === "foreverFrame" });
  assert.equal(await client.start(user, transport), transport);
  await client.call("JoinRoom", room);
  return client;
};

// A network between the pages and the server that can be cut, and that can swallow everything.
const network = async () => {
  const { hostname, port } = new URL(base);
  const lines = new Set();
  const state = { isCut: false, isSilent: false };
  const server = net.createServer((near) => {
    if (state.isCut) return near.destroy();
    const far = net.connect(Number(port), hostname);
    const line = { near, far };
    lines.add(line);
    const end = () => { near.destroy(); far.destroy(); lines.delete(line); };
    const carry = (to) => (bytes) => { if (!state.isSilent) to.write(bytes); };
    near.on("data", carry(far)).on("error", end).on("close", end);
    far.on("data", carry(near)).on("error", end).on("close", end);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const drop = () => { for (const { near, far } of lines) { near.destroy(); far.destroy(); } };
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    cut() { state.isCut = true; drop(); },
    swallow() { state.isSilent = true; },
    heal() { state.isCut = state.isSilent = false; drop(); },
  };
};

// The network of a client is cut while others speak, and healed when they have.
const cutWhileOthersSpeak = async (transport) => {
  const line = await network();
  const [ann, bob] = [await enter(line.origin, "ann", transport, transport), await enter(base, "bob", "webSockets", transport)];
  await bob.call("Send", transport, "before");
  assert.equal(await ann.next(), "bob: before");
  line.cut();
  assert.equal(await ann.next(), "reconnecting");
  for (const text of ["one", "two", "three"]) await bob.call("Send", transport, text);
  line.heal();
  const heard = [];
  for (let turn = 0; turn < 4; turn++) heard.push(await ann.next());
  assert.deepEqual(heard.filter((line) => line !== "reconnected"), ["bob: one", "bob: two", "bob: three"]);
  assert.ok(heard.includes("reconnected"));
  await bob.call("Send", transport, "after");
  assert.equal(await ann.next(), "bob: after");
  assert.equal(await ann.call("Add", 2, 3), 5);
  console.log("healed");
};

// The server is impatient: the client hears from it every 2 s, or thinks it slow, and after 4 s gone.
const swallowEverything = async (transport) => {
  const line = await network();
  const ann = await enter(line.origin, "ann", transport, transport);
  line.swallow();
  // On a machine that does other things it may have been slow before.
  const heard = [await ann.next()];
  while (heard.at(-1) === "connectionSlow") heard.push(await ann.next());
  assert.equal(heard[0], "connectionSlow");
  assert.equal(heard.at(-1), "reconnecting");
  line.heal();
  assert.equal(await ann.next(), "reconnected");
  assert.equal(await ann.call("Add", 2, 3), 5);
  console.log("healed");
};

// The server's own page.
const visit = async (name, wire) => {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => { console.error(error); process.exit(1); });
  await page.goto(`${base}/?name=${name}&room=lobby&wire=${wire}`);
  await page.click("#join");
  await page.waitForSelector("#state[data-state=joined]");
  return {
    say: async (text) => { await page.fill("#message", text); await page.click("#send"); },
    hears: (who, text) => page.waitForFunction(([who, text]) => [...document.querySelectorAll("#log li")].filter((line) =>
      line.querySelector("b")?.textContent === who && line.querySelector("span")?.textContent.trim() === text).length === 1, [who, text]),
  };
};

const meet = async (wires) => {
  const [ann, bob] = [await visit("ann", wires[0]), await visit("bob", wires[1])];
  await ann.say("hello");
  for (const one of [ann, bob]) await one.hears("ann", "hello");
  await bob.say("hi");
  for (const one of [ann, bob]) await one.hears("bob", "hi");
};

const scenarios = {
  async transports() {
    for (const transport of ["webSockets", "serverSentEvents", "longPolling", "foreverFrame"]) {
      const [ann, bob] = [await enter(base, "ann", transport, transport), await enter(base, "bob", transport, transport)];
      assert.equal(await ann.call("Add", 2, 3), 5);
      assert.equal(await ann.call("Echo", "żółw </script> \u2028 🐢"), "żółw </script> \u2028 🐢");
      await ann.call("Send", transport, "<b>hello</b>");
      for (const one of [ann, bob]) assert.equal(await one.next(), "ann: <b>hello</b>");
      await bob.call("LeaveRoom", transport);
      await ann.call("Send", transport, "who is left");
      await ann.call("SendToUser", "bob", "you are not");
      assert.equal(await ann.next(), "ann: who is left");
      assert.equal(await bob.next(), "ann: you are not");
      assert.deepEqual(await ann.fails("Fail", "boom"), { message: "boom", source: "HubException", data: undefined });
      assert.deepEqual(await ann.fails("FailData", "why"), { message: "why", source: "HubException", data: { code: 7, why: "why" } });
      const { message } = await ann.fails("Crash");
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

  async choice() {
    const ann = await open(base);
    assert.equal(await ann.start("ann"), "webSockets");
    const eve = await open(base);
    const refused = await eve.page.evaluate(() => client.start("eve", "foreverFrame").then(() => "started", ({ message }) => message));
    assert.match(refused, /transport/i, "jQuery's client refuses it where there are event streams");
  },

  async proxies() {
    const ann = await open(base, { proxies: true });
    const heard = await ann.page.evaluate(async () => {
      const { hub, chat } = $.connection;
      hub.qs = { user: "ann" };
      const spoken = new Promise((resolve) => { chat.client.addChatMessage = (...said) => resolve(said); });
      await hub.start();
      await chat.server.joinRoom("lobby");
      await chat.server.send("lobby", "through a proxy");
      return [await spoken, await chat.server.add(2, 3)];
    });
    assert.deepEqual(heard, [["ann", "through a proxy"], 5]);
  },

  // Each transport over a network of its own, all at once: it takes the client seconds to notice and to try again.
  cuts: () => Promise.all(["webSockets", "serverSentEvents", "longPolling"].map(cutWhileOthersSpeak)),
  silence: () => Promise.all(["webSockets", "serverSentEvents"].map(swallowEverything)),

  // The server is killed and started again by whoever reads this script's output.
  async survives() {
    const ann = await enter(base, "ann", "webSockets", "lobby");
    console.log("ready");
    await ann.until("reconnected");
    await ann.call("Send", "lobby", "after");
    await ann.until("ann: after");
  },

  page: () => meet(["aspnetcore", "aspnetcore"]),
  pageOnBothWires: () => meet(["classic", "aspnetcore"]),
};

assert.ok(scenarios[scenario], `no such scenario: ${scenario}`);
await scenarios[scenario]();
await browser.close();
process.exit(0);
