// The keyboard: "g" then a letter goes to a page, "/" finds the search field, "?" shows the help.
import { signal } from '@preact/signals';
import { navigate, place } from './router';

/** The help is a dialog over any page; its own address opens it over the home page. */
export const helpOpen = signal(place.peek().path === '/help');

export const GO_TO: Record<string, string> = {
  h: '/', e: '/explore', d: '/dashboards', a: '/alerts', r: '/runbooks', s: '/system',
};

/** Keys that a page adds while it is shown. */
const extra = new Map<string, () => void>();

export function onKey(key: string, run: () => void): () => void {
  extra.set(key, run);
  return () => {
    if (extra.get(key) === run) extra.delete(key);
  };
}

const SECOND_KEY_WITHIN_MS = 1200;

export function startKeys(): void {
  let goUntil = 0;
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    if (target.closest('input, textarea, select, [contenteditable]')) {
      if (event.key === 'Escape') target.blur();
      return;
    }
    if (goUntil > event.timeStamp) {
      goUntil = 0;
      const to = GO_TO[event.key];
      if (to) {
        event.preventDefault();
        navigate(to);
        return;
      }
    }
    if (event.key === 'g') {
      goUntil = event.timeStamp + SECOND_KEY_WITHIN_MS;
    } else if (event.key === '?') {
      helpOpen.value = !helpOpen.value;
    } else if (event.key === '/') {
      const field = document.querySelector<HTMLElement>('[data-search]');
      if (field) {
        event.preventDefault();
        field.focus();
      }
    } else {
      extra.get(event.key)?.();
    }
  });
}
