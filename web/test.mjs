// Runs test/*.test.ts: bundled by esbuild (there is no other loader here), run by Node's own runner.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'vigie-web-'));
// Only what the modules touch when they are loaded.
const browser = `
  globalThis.window ??= { location: { pathname: '/', search: '', hash: '', origin: 'http://localhost', href: 'http://localhost/' },
    localStorage: { getItem: () => null, setItem: () => {} }, matchMedia: () => ({ matches: false, addEventListener() {} }) };
  globalThis.navigator ??= { language: 'en' };
  globalThis.document ??= { documentElement: {} };`;
try {
  await build({
    absWorkingDir: here,
    entryPoints: readdirSync(join(here, 'test')).filter((f) => f.endsWith('.test.ts')).map((f) => `test/${f}`),
    bundle: true,
    platform: 'node',
    format: 'esm',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    outdir: out,
    outExtension: { '.js': '.mjs' },
    banner: { js: browser },
    logLevel: 'warning',
  });
  const files = readdirSync(out).map((f) => join(out, f));
  process.exitCode = spawnSync(process.execPath, ['--test', ...files], { stdio: 'inherit', env: { ...process.env, TZ: 'UTC' } }).status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
