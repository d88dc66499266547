// Rejoin tokens with clients/js and four versions of @microsoft/signalr, under Node. Usage: rejoin.mjs URL [SECRET]. The
// test that reads this script's output kills and restarts the server after "ready".
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { signToken } from "./jwt.mjs";
import { expectReturn, expectReturnFromStorage, joinRoom } from "./rejoin_steps.mjs";

const require = createRequire(`${process.cwd()}/`);
const [base, secret] = process.argv.slice(2);
const PACKAGES = ["signalr-7", "signalr-8", "signalr-9", "@microsoft/signalr"];

// The module is found as its package.json declares it.
const folder = new URL("../../clients/js/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("package.json", folder), "utf8"));
for (const file of [...manifest.files, manifest.types]) readFileSync(new URL(file, folder));
const { enableRejoin } = await import(new URL(manifest.exports["."].default, folder));

const newStorage = () => {
  const values = new Map();
  return { getItem: (key) => values.get(key) ?? null, setItem: (key, value) => values.set(key, value), removeItem: (key) => values.delete(key) };
};

const setups = PACKAGES.flatMap((name) => {
  const signalR = require(name);
  const variants = secret
    ? { token: { accessTokenFactory: () => signToken(secret, { sub: "ann" }) } }
    : { negotiated: {}, direct: { skipNegotiation: true, transport: signalR.HttpTransportType.WebSockets } };
  return Object.entries(variants).map(([variant, options]) =>
    ({ signalR, enableRejoin, options, url: `${base}/chat?user=ann%20b`, storage: newStorage(), room: `${name} ${variant}` }));
});

const clients = await Promise.all(setups.map(joinRoom));
console.log("ready");
await Promise.all(clients.map((client, at) => expectReturn(client, setups[at])));
for (const { connection, rejoin } of clients) {
  await connection.stop();
  const { searchParams, search } = new URL(connection.baseUrl);
  assert.equal(search.split("&")[0], "?user=ann%20b", "other parameters stay as they are");
  assert.equal(searchParams.getAll("rejoin").length, 1);
  assert.ok(rejoin.token.length > 10);
}
await Promise.all(setups.map(expectReturnFromStorage));
process.exit(0);
