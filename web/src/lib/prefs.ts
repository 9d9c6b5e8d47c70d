// What the reader chose for this browser: language and theme. Both fall back to the browser's own.
import { effect, signal } from '@preact/signals';

export type Lang = 'en' | 'fr';
export type Theme = 'light' | 'dark';

function stored(key: string): string | null {
  try {
    return window.localStorage.getItem(key);
  } catch {
    return null; // Storage is off: the choice lasts as long as the page.
  }
}

function store(key: string, value: string): void {
  try {
    window.localStorage.setItem(key, value);
  } catch {
    // As above.
  }
}

function firstLang(): Lang {
  const chosen = stored('vigie.lang');
  if (chosen === 'en' || chosen === 'fr') return chosen;
  return navigator.language.toLowerCase().startsWith('fr') ? 'fr' : 'en';
}

const systemDark = window.matchMedia('(prefers-color-scheme: dark)');

function firstTheme(): Theme {
  const chosen = stored('vigie.theme');
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return systemDark.matches ? 'dark' : 'light';
}

export const lang = signal<Lang>(firstLang());
export const theme = signal<Theme>(firstTheme());

export function chooseLang(next: Lang): void {
  lang.value = next;
  store('vigie.lang', next);
}

export function chooseTheme(next: Theme): void {
  theme.value = next;
  store('vigie.theme', next);
}

export function startPrefs(): void {
  effect(() => {
    document.documentElement.lang = lang.value;
  });
  effect(() => {
    document.documentElement.dataset.theme = theme.value;
  });
  systemDark.addEventListener('change', (event) => {
    if (!stored('vigie.theme')) theme.value = event.matches ? 'dark' : 'light';
  });
}
