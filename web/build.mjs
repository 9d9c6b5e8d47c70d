// Builds the web UI: `node build.mjs --out DIR [--dev]`.
//
// Writes into DIR: index.html, assets/* with a content hash in each name, a `.br` and a `.gz`
// beside every file that gains from it, and manifest.json. The program embeds exactly what the
// manifest lists:
//   { "files": [ { "path", "content_type", "etag", "immutable", "bytes", "encodings": { "br": n, "gzip": n } } ] }
// `path` is relative to DIR; the encoded variants stand at `path + ".br"` and `path + ".gz"`.
// The output depends on the sources only: two runs give the same bytes.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const FIRST_LOAD_LIMIT_BYTES = 100_000;

const CONTENT_TYPES = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
  webmanifest: 'application/manifest+json',
};

/** The licences of what is bundled, as their texts ask for. */
function licences() {
  const names = ['preact', '@preact/signals', '@preact/signals-core', 'uplot'];
  return names
    .map((name) => {
      const dir = join(here, 'node_modules', name);
      const { version, license } = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
      const file = readdirSync(dir).find((f) => /^licen[cs]e/i.test(f));
      const text = file ? readFileSync(join(dir, file), 'utf8').trim() : '';
      return `${name} ${version} (${license})\n\n${text}\n`;
    })
    .join(`\n${'-'.repeat(78)}\n\n`);
}

function argument(name) {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

const out = argument('--out');
if (!out) {
  console.error('usage: node build.mjs --out DIR [--dev]');
  process.exit(2);
}
const dev = process.argv.includes('--dev');

rmSync(join(out, 'assets'), { recursive: true, force: true });
mkdirSync(join(out, 'assets'), { recursive: true });

const bundle = await build({
  absWorkingDir: here,
  entryPoints: { vigie: 'src/main.tsx' },
  bundle: true,
  format: 'esm',
  target: ['es2022'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  minify: !dev,
  // No source map: the program embeds everything that is written here.
  sourcemap: false,
  entryNames: 'assets/[name]-[hash]',
  assetNames: 'assets/[name]-[hash]',
  outdir: out,
  write: false,
  metafile: true,
  loader: { '.svg': 'file' },
  legalComments: 'none',
  logLevel: 'warning',
});

/** path → bytes of everything that is shipped. */
const files = new Map();
for (const file of bundle.outputFiles) {
  files.set(`assets/${file.path.split('/assets/')[1]}`, Buffer.from(file.contents));
}

function withHash(name, bytes) {
  const dot = name.lastIndexOf('.');
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 8);
  return `assets/${name.slice(0, dot)}-${hash}${name.slice(dot)}`;
}

const icon = readFileSync(join(here, 'src/icon.svg'));
const iconPath = withHash('icon.svg', icon);
files.set(iconPath, icon);
files.set('assets/LICENSES.txt', Buffer.from(licences()));

const named = (ending) => [...files.keys()].find((p) => p.includes('/vigie-') && p.endsWith(ending));
const html = readFileSync(join(here, 'src/index.html'), 'utf8')
  .replaceAll('{{icon}}', `/${iconPath}`)
  .replaceAll('{{css}}', `/${named('.css')}`)
  .replaceAll('{{js}}', `/${named('.js')}`);
files.set('index.html', Buffer.from(html));

const brotli = (bytes) =>
  brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });

const manifest = { files: [] };
let firstLoadBytes = 0;
for (const [path, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
  writeFileSync(join(out, path), bytes);
  const encodings = {};
  for (const [name, ending, encode] of [
    ['br', '.br', brotli],
    ['gzip', '.gz', (b) => gzipSync(b, { level: 9 })],
  ]) {
    const encoded = encode(bytes);
    writeFileSync(join(out, path + ending), encoded);
    encodings[name] = encoded.length;
  }
  if (!path.endsWith('.txt')) firstLoadBytes += encodings.br;
  manifest.files.push({
    path,
    content_type: CONTENT_TYPES[path.split('.').pop()] ?? 'application/octet-stream',
    etag: createHash('sha256').update(bytes).digest('hex').slice(0, 20),
    // Names with a hash never change their content: they may be kept for ever.
    immutable: /-[0-9A-Za-z]{8}\.\w+$/.test(path),
    bytes: bytes.length,
    encodings,
  });
}
writeFileSync(join(out, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`);

console.log(`first load: ${(firstLoadBytes / 1000).toFixed(1)} kB brotli, limit ${FIRST_LOAD_LIMIT_BYTES / 1000} kB`);
if (!dev && firstLoadBytes > FIRST_LOAD_LIMIT_BYTES) {
  console.error('the first load is over its budget');
  process.exit(1);
}
