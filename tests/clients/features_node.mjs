// Runs the features of features.mjs under Node. Usage: features_node.mjs PACKAGE TRANSPORT FORMAT URL. Prints the name and
// the error of each feature that fails, and exits with 0 if none does. The working directory must contain the npm packages.
import { createRequire } from "node:module";

import { createProtocols } from "./feature_protocols.mjs";
import { isLateSend, runFeatures } from "./feature_session.mjs";
import { featuresOf } from "./features.mjs";
import { startRelay } from "./relay.mjs";

const require = createRequire(`${process.cwd()}/`);
const [name, transport, format, server] = process.argv.slice(2);
const signalR = require(name);
const isModern = name === "@microsoft/signalr";
const createProtocol = createProtocols(signalR, require(`${name}-protocol-msgpack`), require("msgpack-3"));

process.on("unhandledRejection", (reason) => { if (!isLateSend(reason)) throw reason; });
const relay = await startRelay(server);
const setup = { signalR, isModern, createProtocol, url: `${relay.url}/chat`, network: relay };
const failures = await runFeatures(featuresOf(isModern), setup, [transport, format]);
failures.forEach((failure) => console.error(failure));
process.exit(failures.length ? 1 : 0);
