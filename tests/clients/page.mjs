// Scenarios of the server's own chat page in Chromium. Usage: page.mjs SCENARIO URL [SECRET]. Exits with 0, or prints the
// error.
import assert from "node:assert/strict";

import { base, newPage, rest, run } from "./chromium.mjs";
import { signToken } from "./jwt.mjs";
import { startProxy } from "./proxy.mjs";

const PROTOCOLS = ["aspnetcore", "classic"];

const open = async ({ origin = base, name = "ann", room = "lobby", protocol = "aspnetcore", ...options } = {}) => {
  const page = await newPage(options);
  await page.goto(`${origin}/?name=${name}&room=${room}&wire=${protocol}`);
  return page;
};

const waitForState = (page, state) => page.waitForSelector(`#state[data-state=${state}]`);
const stateText = (page) => page.textContent("#state");
const focusedId = (page) => page.evaluate(() => document.activeElement.id);

const join = async (page) => {
  await page.click("#join");
  await waitForState(page, "joined");
};

const openAndJoin = async (options) => {
  const page = await open(options);
  await join(page);
  return page;
};

const send = async (page, text) => {
  await page.fill("#message", text);
  await page.click("#send");
};

// Waits until the log has exactly one such line.
const waitForMessage = (page, name, text, label = "") => page.waitForFunction((expected) => [...document.querySelectorAll("#log li")].filter((line) =>
  JSON.stringify(["b", "span", "small"].map((tag) => line.querySelector(tag)?.textContent.trim() ?? "")) === expected).length === 1, JSON.stringify([name, text, label]));

const waitForNotice = (page, text) => page.waitForFunction((text) => document.querySelector("#log").textContent.includes(text), text);

const exchangeMessages = async (protocols) => {
  const [ann, bob] = [await openAndJoin({ name: "ann", protocol: protocols[0] }), await openAndJoin({ name: "bob", protocol: protocols[1] })];
  await send(ann, "hello");
  for (const one of [ann, bob]) await waitForMessage(one, "ann", "hello");
  await send(bob, "hi");
  for (const one of [ann, bob]) await waitForMessage(one, "bob", "hi");
};

// The width that the selector needs is its width without any layout. Its text must not be pale, disabled or not.
const checkSelector = (page) => page.evaluate(() => {
  const select = document.querySelector("#wire"), { left, right, width, height } = select.getBoundingClientRect();
  const copy = select.cloneNode(true);
  copy.removeAttribute("id");
  copy.style.cssText = "position: absolute; width: max-content; visibility: hidden";
  document.body.append(copy);
  const needed = copy.getBoundingClientRect().width, { color, opacity } = getComputedStyle(select);
  copy.remove();
  return {
    isInView: left >= 0 && right <= innerWidth && height > 0,
    isReadable: width >= needed && color === getComputedStyle(document.body).color && opacity > 0.6,
    scrolls: document.documentElement.scrollWidth > innerWidth,
  };
});

const scenarios = {
  messages: () => exchangeMessages(["aspnetcore", "aspnetcore"]),
  bothProtocols: () => exchangeMessages(["classic", "aspnetcore"]),

  async refusedToken() {
    for (const protocol of PROTOCOLS) {
      const page = await open({ protocol });
      const refuse = async (token, reason) => {
        await page.evaluate((token) => { document.querySelector("#token").value = token; }, token);
        await page.click("#join");
        await page.waitForFunction((reason) => document.querySelector("#state").textContent.includes(reason), reason);
        assert.match(await stateText(page), /^401 Unauthorized: /);
        await page.waitForFunction(() => document.activeElement.id === "token");
      };
      await refuse("", "a bearer token is required");
      await refuse("nonsense", "it is not a JSON web token");
      await refuse(signToken(rest[0], { sub: "ann", exp: 1 }), "it has expired");
    }
  },

  async authenticatedName() {
    for (const protocol of PROTOCOLS) {
      const page = await open({ name: "somebody", protocol });
      await page.click("#sign-in summary");
      await page.fill("#token", signToken(rest[0], { sub: "ann" }));
      await join(page);
      assert.equal(await stateText(page), "in lobby as ann");
      await send(page, "hello");
      await waitForMessage(page, "ann", "hello");
    }
  },

  async longMessage() {
    for (const protocol of PROTOCOLS) {
      const page = await openAndJoin({ protocol });
      const text = "ż".repeat(40_000);
      await send(page, text);
      await waitForNotice(page, "not sent: the message is too long: it takes 80");
      assert.equal(await page.inputValue("#message"), text);
      assert.equal(await stateText(page), "in lobby as ann");
      await send(page, "short");
      await waitForMessage(page, "ann", "short");
      assert.equal(await page.inputValue("#message"), "");
    }
  },

  async otherRooms() {
    const earlier = await openAndJoin();
    const garden = await open({ room: "garden" });
    await garden.check("#durable");
    await join(garden);
    for (const protocol of PROTOCOLS) {
      const [lobby, bob] = [await openAndJoin({ protocol }), await openAndJoin({ name: "bob", room: "garden" })];
      await send(bob, protocol);
      for (const one of [earlier, lobby]) await waitForMessage(one, "bob", protocol, "in garden");
      for (const one of [garden, bob]) await waitForMessage(one, "bob", protocol);
      await bob.evaluate(async (text) => {
        const { AspNetCore } = await import("./page-clients.js");
        const client = new AspNetCore({ identity: { user: "bob" }, onLost() {}, onError() {} });
        await client.start();
        await client.invoke("SendToUser", "ann", text);
      }, `private ${protocol}`);
      for (const one of [earlier, lobby]) await waitForMessage(one, "bob", `private ${protocol}`, "to you");
    }
  },

  async focus() {
    for (const protocol of PROTOCOLS) {
      const proxy = await startProxy(base);
      const page = await open({ origin: proxy.origin, protocol });
      proxy.cut();
      await page.press("#room", "Enter");
      await waitForState(page, "failed");
      await page.waitForFunction(() => document.activeElement.id === "room");
      proxy.restore();
      await join(page);
      await send(page, "one");
      assert.equal(await focusedId(page), "message");
      const reconnectWith = async (id) => {
        await page.focus(`#${id}`);
        proxy.cut();
        await waitForState(page, "reconnecting");
        proxy.restore();
        await waitForState(page, "joined");
        assert.equal(await focusedId(page), id);
      };
      await page.fill("#message", "tw");
      await reconnectWith("message");
      await page.keyboard.press("End");
      await page.keyboard.type("o");
      await page.keyboard.press("Enter");
      await waitForMessage(page, "ann", "two");
      await reconnectWith("log");
      await page.click("#leave");
      assert.equal(await focusedId(page), "join");
    }
  },

  async selectorWidths() {
    for (const width of [320, 768, 1280]) {
      const page = await open({ viewport: { width, height: 800 } });
      const check = async () => assert.deepEqual(await checkSelector(page), { isInView: true, isReadable: true, scrolls: false }, `${width} px`);
      await check();
      await join(page); // disables the selector
      await check();
    }
  },
};

await run(scenarios);
