// What the browser tests share: a running demonstration, a browser, and questions about a page.
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** Where screenshots are left for people to look at. */
export const SCREENSHOTS = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'screenshots');

/** Chromium as Debian ships it, without the background traffic that a test machine refuses. */
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Asks until there is an answer that is not undefined. */
export async function waitFor(what, timeoutMs, ask) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`${timeoutMs} ms have passed without: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Starts `vigie demo` in a folder of its own and waits until it is ready. */
export async function startDemo() {
  const program = process.env.VIGIE_BIN;
  if (!program) throw new Error('VIGIE_BIN names the binary: run `cargo xtask test`');
  const home = mkdtempSync(join(tmpdir(), 'vigie-browser-'));
  // PostgreSQL gives up root and must still reach its folder.
  chmodSync(home, 0o755);
  const port = await freePort();
  const log = openSync(join(home, 'stderr.txt'), 'a');
  const child = spawn(program, ['demo', `--storage.path=${join(home, 'demo')}`, `--web.listen-address=127.0.0.1:${port}`], {
    stdio: ['ignore', 'ignore', log],
  });
  const url = `http://127.0.0.1:${port}`;
  await waitFor('the demonstration is ready', 90_000, async () => {
    if (child.exitCode !== null) throw new Error(`vigie demo ended with ${child.exitCode}, see ${home}/stderr.txt`);
    const ready = await fetch(`${url}/-/ready`).catch(() => undefined);
    return ready?.ok ? true : undefined;
  });
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
    rmSync(home, { recursive: true, force: true });
  };
  return { url, child, stop };
}

export async function startBrowser() {
  mkdirSync(SCREENSHOTS, { recursive: true });
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
}

/** A page that remembers what went wrong in it. */
export async function openPage(browser, options) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1366, height: 860 }, ...options });
  const page = await context.newPage();
  const problems = [];
  page.on('console', (message) => {
    // Reading the pixels back is what this test does, and what Chromium warns about.
    const ours = message.text().includes('willReadFrequently');
    if (['error', 'warning'].includes(message.type()) && !ours) problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`exception: ${error.message}`));
  page.on('response', (response) => {
    if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
  });
  return { page, problems, close: () => context.close() };
}

/** For every canvas: whether anything is drawn on it (pixels of more than one colour). */
export function drawnCanvases(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll('canvas')]
      .filter((canvas) => canvas.width > 0 && canvas.height > 0)
      .map((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const colours = new Set();
        for (let at = 0; at < data.length && colours.size < 4; at += 4) {
          if (data[at + 3] > 0) colours.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
        }
        return colours.size >= 2;
      }),
  );
}
