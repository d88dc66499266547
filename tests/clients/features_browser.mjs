// Runs the features of features.mjs in Chromium, over each transport with each format. Usage: features_browser.mjs PACKAGE
// URL. Prints the name and the error of each feature that fails, and exits with 0 if none does.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { base, newPage, require, run, scenario as name } from "./chromium.mjs";
import { PAIRS } from "./feature_session.mjs";
import { startRelay } from "./relay.mjs";

const isModern = name === "@microsoft/signalr";
const SCRIPTS = [
  `${name}/dist/browser/signalr.js`, ...(isModern ? [] : ["msgpack5/dist/msgpack5.js"]), `${name}-protocol-msgpack/dist/browser/signalr-protocol-msgpack.js`,
];

// A page of the server's origin with the client. Chromium lets a page that a test made up open no WebSocket to the server.
const open = async (relay) => {
  const page = await newPage();
  const read = (url) => readFileSync(new URL(url.split("/").pop(), import.meta.url), "utf8");
  await page.route(`${relay.url}/features/*`, (route) => route.fulfill({ contentType: "text/javascript", body: read(route.request().url()) }));
  await page.exposeFunction("disconnect", relay.disconnect);
  await page.exposeFunction("connect", relay.connect);
  await page.goto(`${relay.url}/chat`); // a refusal is a page of that origin too
  for (const script of SCRIPTS) await page.addScriptTag({ path: require.resolve(script) });
  await page.addScriptTag({ path: require.resolve("msgpack-3").replace(/dist.*/, "dist.umd/msgpack.js") });
  return page;
};

const runPair = async (pair) => {
  const relay = await startRelay(base);
  const page = await open(relay);
  const failures = await page.evaluate(async ([pair, url, isModern]) => {
    const load = (name) => import(`/features/${name}.mjs`);
    const [{ createProtocols }, { runFeatures, isLateSend }, { featuresOf }] = await Promise.all(["feature_protocols", "feature_session", "features"].map(load));
    addEventListener("unhandledrejection", (event) => { if (isLateSend(event.reason)) event.preventDefault(); });
    const createProtocol = createProtocols(signalR, signalR.protocols.msgpack, MessagePack);
    return runFeatures(featuresOf(isModern), { signalR, isModern, createProtocol, url, network: { connect, disconnect } }, pair);
  }, [pair, `${relay.url}/chat`, isModern]);
  await page.context().close();
  return failures;
};

const runPairs = async () => {
  const failures = [];
  for (const pair of PAIRS) failures.push(...await runPair(pair));
  assert.equal(failures.length, 0, failures.join("\n"));
};

await run({ [name]: runPairs });
