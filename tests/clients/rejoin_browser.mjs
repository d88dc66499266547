// Rejoin tokens with four versions of @microsoft/signalr, in Chromium. Usage: rejoin_browser.mjs SCENARIO URL [SECRET]. The
// tests that read this script's output kill and restart the server after "ready", unless the scenario is `example`.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { base, newPage, require, rest, run } from "./chromium.mjs";
import { signToken } from "./jwt.mjs";

const PACKAGES = ["signalr-7", "signalr-8", "signalr-9", "@microsoft/signalr"];
const repository = new URL("../../", import.meta.url);
const read = (path) => readFileSync(new URL(path, repository), "utf8");

const FILES = {
  "hubcast-rejoin.js": read("clients/js/hubcast-rejoin.js"),
  "steps.js": read("tests/clients/rejoin_steps.mjs"),
};

// Opens a page of the server's origin and loads a version of the client in it.
const open = async (name) => {
  const page = await newPage();
  await page.route(`${base}/rejoin/*`, (route) =>
    route.fulfill({ contentType: "text/javascript", body: FILES[new URL(route.request().url()).pathname.split("/").pop()] }));
  await page.goto(`${base}/signalr/ping`); // any page of that origin will do
  const load = () => page.addScriptTag({ path: require.resolve(`${name}/dist/browser/signalr.js`) });
  await load();
  const reload = () => page.reload().then(load);
  return { page, reload };
};

// Runs one function of rejoin_steps.mjs in the page. Its client is kept in the page for the next one.
const runStep = (page, step, room, variant) => page.evaluate(async ([step, room, { url, options }]) => {
  const [{ enableRejoin }, steps] = [await import("/rejoin/hubcast-rejoin.js"), await import("/rejoin/steps.js")];
  if (options.accessToken) options.accessTokenFactory = () => options.accessToken;
  const setup = { signalR, enableRejoin, url, options, storage: sessionStorage, room };
  window.client = await (step === "expectReturn" ? steps.expectReturn(window.client, setup) : steps[step](setup)) ?? window.client;
}, [step, room, variant]);

const WEB_SOCKETS = 1; // HttpTransportType
const variants = rest[0]
  ? { token: { url: "/chat", options: { accessToken: signToken(rest[0], { sub: "ann" }) } } }
  : { relative: { url: "../chat?user=ann", options: {} }, absolute: { url: `${base}/chat?user=ann`, options: { skipNegotiation: true, transport: WEB_SOCKETS } } };

// The code blocks of the README that contain a text.
const readmeLines = (text) => {
  const blocks = read("README.md").split("```js\n").slice(1).map((rest) => rest.split("```")[0]);
  const found = blocks.filter((block) => block.includes(text));
  assert.equal(found.length, 1, text);
  return found[0].replace(/import (\{ \w+ \}) from "hubcast-rejoin";/, 'const $1 = await import("/rejoin/hubcast-rejoin.js");');
};

// Runs the lines of the README and starts their connection.
const runLines = (page, lines) => page.evaluate(async (lines) => {
  const AsyncFunction = (async () => {}).constructor;
  window.connection = await new AsyncFunction(`${lines}; return connection;`)();
  window.reconnected = new Promise((resolve) => window.connection.onreconnected(resolve));
  window.messages = [];
  window.connection.on("addChatMessage", (_, text) => window.messages.push(text));
  if (window.connection.state === "Disconnected") await window.connection.start();
}, lines);

const expectMessage = async (page, room, text) => {
  await page.evaluate(([room, text]) => connection.invoke("Send", room, text), [room, text]);
  await page.waitForFunction((text) => messages.includes(text), text);
};

const scenarios = {
  async helper() {
    const tabs = await Promise.all(PACKAGES.flatMap((name) => Object.entries(variants).map(async ([variant, options]) =>
      ({ ...await open(name), room: `${name} ${variant}`, options }))));
    const runAll = (step) => Promise.all(tabs.map(({ page, room, options }) => runStep(page, step, room, options)));
    await runAll("joinRoom");
    console.log("ready");
    await runAll("expectReturn");
    await Promise.all(tabs.map(({ reload }) => reload()));
    await runAll("expectReturnFromStorage");
  },

  async documentedLines() {
    const tabs = [];
    for (const name of PACKAGES) {
      for (const marker of ["enableRejoin", "hubcast:rejoinToken"]) {
        const { page, reload } = await open(name), room = `${name} ${marker}`, lines = readmeLines(marker);
        await runLines(page, lines);
        await page.evaluate((room) => connection.invoke("JoinRoom", room), room);
        await expectMessage(page, room, "before");
        tabs.push({ page, reload, room, lines });
      }
    }
    console.log("ready");
    for (const { page, reload, room, lines } of tabs) {
      await page.evaluate(() => reconnected);
      await expectMessage(page, room, "after the restart");
      await reload();
      await runLines(page, lines);
      await expectMessage(page, room, "after the reload");
    }
  },

  // The page of the example `rejoin`, with the installed client instead of the one from the network.
  async example() {
    const page = await newPage();
    await page.route("https://cdn.jsdelivr.net/**", (route) => route.fulfill({ path: require.resolve("@microsoft/signalr/dist/browser/signalr.min.js") }));
    await page.goto(base);
    const waitForLines = (expected) => page.waitForFunction((expected) =>
      [...document.querySelectorAll("#log li")].map(({ textContent }) => textContent).sort().join() === expected, expected.sort().join());
    const lines = ["joined lobby and vault"];
    await waitForLines(lines);
    await page.click("#send");
    lines.push("ann: hello, lobby", "ann: hello, vault");
    await waitForLines(lines);
    await page.click("#disconnect");
    lines.push("connection lost", "back in: lobby");
    await waitForLines(lines);
    await page.click("#send");
    lines.push("ann: hello, lobby");
    await waitForLines(lines);
    await page.click("#reload");
    await waitForLines(["back in: lobby"]);
  },
};

await run(scenarios);
