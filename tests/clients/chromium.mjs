// Starts Chromium for a script and runs one of its scenarios. Scripts are called with SCENARIO URL and further arguments.
// The working directory must contain the npm packages, because the repository does not.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

export const require = createRequire(`${process.cwd()}/`);
const { chromium } = require("playwright-core");

export const [scenario, base, ...rest] = process.argv.slice(2);
const TIMEOUT_MS = 180_000;
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args, timeout: TIMEOUT_MS });

// A page of its own profile. An error in it ends the script.
export const newPage = async (options = {}) => {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  page.on("pageerror", (error) => { console.error(error); process.exit(1); });
  return page;
};

// Runs the scenario that the command line names, and ends the process.
export const run = async (scenarios) => {
  assert.ok(scenarios[scenario], `no such scenario: ${scenario}`);
  await scenarios[scenario]();
  await browser.close();
  process.exit(0);
};
