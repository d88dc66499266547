// Scenarios of the examples that port Microsoft's samples, with the official jQuery client and generated proxies in
// Chromium. Usage: samples_browser.mjs SCENARIO URL. Exits with 0, or prints the error. The test that reads the output kills
// and restarts the server after "ready".
import assert from "node:assert/strict";

import { base, newPage, require, run } from "./chromium.mjs";
import { core, printStep } from "./sample_clients.mjs";

// Opens a page of the server with the proxies of its hubs, and starts the connection of the user. The page records what
// happens, in order.
const open = async (user, hubs) => {
  const page = await newPage();
  await page.goto(`${base}/signalr/ping`); // any page of that origin will do
  for (const script of ["jquery/dist/jquery.js", "signalr/jquery.signalR.js"]) await page.addScriptTag({ path: require.resolve(script) });
  await page.addScriptTag({ url: `${base}/signalr/hubs` });
  await page.evaluate(async ([user, hubs]) => {
    const events = [], waiting = [];
    const record = (...event) => { events.push(event); waiting.splice(0).forEach((wake) => wake()); };
    window.next = async () => {
      while (events.length === 0) await new Promise((resolve) => waiting.push(resolve));
      return events.shift();
    };
    const { hub } = $.connection;
    hub.qs = { access_token: user };
    hub.reconnected(() => record("reconnected"));
    for (const name of hubs) $.connection[name].client.addChatMessage = (...values) => record(name, ...values);
    await hub.start();
  }, [user, hubs]);
  return page;
};

const next = (page) => page.evaluate(() => window.next());

await run({
  // Samples 1, 3, 7, 10 and 11 of the page about groups. The rooms of the database are garden, kitchen and lobby.
  async groupsPage() {
    const page = await open("ann", ["chatHub", "contosoChatHub"]);
    const { joined, added, error } = await page.evaluate(async () => {
      const { chatHub, contosoChatHub } = $.connection;
      const joined = [await chatHub.server.joinRoom("kitchen"), await chatHub.server.joinRoom("game 7"), await contosoChatHub.server.joinRoom("kitchen")];
      const added = await chatHub.server.addToRoom("lobby");
      const error = await chatHub.server.addToRoom("cellar").then(() => null, ({ message, data }) => ({ message, data }));
      return { joined, added, error };
    });
    assert.deepEqual([joined, added], [[true, true, true], { changed: true, connections: 1 }]);
    assert.deepEqual(error, { message: "There is no room `cellar`.", data: { code: "unknownRoom", room: "cellar" } });
    printStep("ready");
    assert.deepEqual(await next(page), ["reconnected"]);
    const sent = await page.evaluate(async () => {
      const { chatHub, contosoChatHub } = $.connection;
      const sent = [];
      for (const room of ["kitchen", "game 7", "lobby"]) sent.push(await chatHub.server.send(room, room));
      return [...sent, await contosoChatHub.server.send("kitchen", "of the other hub")];
    });
    assert.deepEqual(sent, [0, 1, 1, 1]);
    for (const event of [["chatHub", "ann", "game 7"], ["chatHub", "ann", "lobby"], ["contosoChatHub", "ann", "of the other hub"]])
      assert.deepEqual(await next(page), event);
  },

  // Sample 5 of the page about users: the mapping is empty after the restart, until the client reconnects.
  async inMemory() {
    const page = await open("Ann", ["chatHub"]);
    printStep("ready");
    assert.deepEqual(await next(page), ["reconnected"]);
    const bob = await core("chatHub", "bob");
    // The client is told that it has reconnected a moment before OnReconnected has run.
    let result;
    do result = await bob.call("SendChatMessage", "ann", "welcome back"); while (result === "offline");
    assert.deepEqual(result, { sent: 1 });
    assert.deepEqual(await next(page), ["chatHub", "bob: welcome back"]);
  },
});
