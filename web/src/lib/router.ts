// The router: the address bar is the state. `location` is a signal of the current path and query,
// links are ordinary <a href>, and the few routes are matched by hand in app.tsx.
import { computed, signal } from '@preact/signals';

/** Where the UI is mounted ("" or "/prefix"), read from the place this bundle was loaded from. */
export const base = (() => {
  const path = new URL(import.meta.url).pathname;
  const at = path.lastIndexOf('/assets/');
  return at > 0 ? path.slice(0, at) : '';
})();

export interface Place {
  path: string;
  query: URLSearchParams;
  hash: string;
}

function read(): Place {
  const path = window.location.pathname.slice(base.length) || '/';
  return { path, query: new URLSearchParams(window.location.search), hash: window.location.hash };
}

export const place = signal<Place>(read());
export const path = computed(() => place.value.path);

/** The URL of a page or an API below the mount point. */
export const href = (to: string): string => base + to;

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  const url = href(to);
  if (options.replace) window.history.replaceState(null, '', url);
  else window.history.pushState(null, '', url);
  const before = place.value.path;
  place.value = read();
  if (!options.replace && place.value.path !== before) window.scrollTo(0, 0);
}

/** Changes query parameters of the current page; undefined or '' removes one. */
export function setQuery(
  changes: Record<string, string | string[] | undefined>,
  options: { push?: boolean } = {},
): void {
  const query = new URLSearchParams(place.value.query);
  for (const [key, value] of Object.entries(changes)) {
    query.delete(key);
    if (Array.isArray(value)) value.forEach((v) => query.append(key, v));
    else if (value !== undefined && value !== '') query.set(key, value);
  }
  const text = query.toString();
  navigate(place.value.path + (text ? `?${text}` : ''), { replace: !options.push });
}

/**
 * Addresses that notifications and bookmarks of the originals carry, in our words:
 * Prometheus' /graph?g0.expr=…, /rules, /targets and Alertmanager's /#/alerts.
 */
export function fromOldLink(at: Place): string | undefined {
  if (at.path === '/graph') {
    const query = new URLSearchParams({ tab: 'metrics' });
    const expr = at.query.get('g0.expr');
    if (expr) query.set('expr', expr);
    const range = at.query.get('g0.range_input');
    if (range) query.set('from', `now-${range}`);
    return `/explore?${query}`;
  }
  if (at.path === '/rules') return '/alerts';
  if (at.path === '/targets') return '/system';
  if (at.path === '/' && at.hash.startsWith('#/')) return '/alerts';
  return undefined;
}

export function startRouter(): void {
  const old = fromOldLink(place.value);
  if (old) navigate(old, { replace: true });
  window.addEventListener('popstate', () => {
    place.value = read();
  });
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest?.('a');
    if (!link || link.target || link.hasAttribute('download')) return;
    const url = new URL(link.href, window.location.href);
    if (url.origin !== window.location.origin || !url.pathname.startsWith(base)) return;
    const to = url.pathname.slice(base.length) || '/';
    // The server's own pages (APIs, /metrics, /status …) are left to the browser.
    if (!isPage(to)) return;
    event.preventDefault();
    navigate(to + url.search + url.hash);
  });
}

const PAGES = /^\/($|explore$|dashboards$|d\/|alerts($|\/)|runbooks($|\/)|system($|\/)|help$)/;
export const isPage = (to: string): boolean => PAGES.test(to);
