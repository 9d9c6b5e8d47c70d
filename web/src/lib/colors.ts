// Colours of series and states. Series colours are chosen so that neighbours differ in lightness as
// well as in hue, and read on both themes.
import { theme } from './prefs';

const LIGHT = ['#2f6fde', '#d97706', '#0f9f76', '#b4459b', '#7c5ce0', '#c8402f', '#0e90ad', '#8a6d0b', '#5d7f1f', '#d0527f', '#49618f', '#94633f'];
const DARK = ['#6ea2ff', '#f5b04c', '#45cfa3', '#e08fcf', '#a893ff', '#ff8a75', '#4cc9e6', '#dcc45a', '#a9cf62', '#ff9dbd', '#9db3dd', '#d3a27d'];

export function seriesColor(index: number): string {
  const palette = theme.value === 'dark' ? DARK : LIGHT;
  return palette[index % palette.length] ?? '#888';
}

/** Grafana's colour names ("dark-red", "super-light-blue"), its hex colours and CSS colours. */
const NAMED_LIGHT: Record<string, string> = {
  red: '#d13438', orange: '#dd7a12', yellow: '#b88a00', green: '#16955c', blue: '#2f6fde', purple: '#8a55d6',
};
const NAMED_DARK: Record<string, string> = {
  red: '#f2706b', orange: '#f59f4a', yellow: '#f0cd52', green: '#4fc98a', blue: '#6ea2ff', purple: '#b794ff',
};

export function namedColor(name: string | undefined, fallback = 'currentColor'): string {
  if (!name) return fallback;
  if (name === 'transparent' || name === 'text') return name === 'text' ? 'var(--text)' : name;
  const hue = name.replace(/^(super-light|semi-dark|light|dark)-/, '');
  const named = (theme.value === 'dark' ? NAMED_DARK : NAMED_LIGHT)[hue];
  if (named) return named;
  // Only what is a plain colour gets through: dashboards are written by others.
  return /^(#[0-9a-f]{3,8}|(rgb|hsl)a?\([\d\s.,%/]+\)|[a-z]+)$/i.test(name) ? name : fallback;
}

export function withAlpha(color: string, alpha: number): string {
  const hex = /^#([0-9a-f]{6})$/i.exec(color);
  if (hex?.[1]) {
    const n = parseInt(hex[1], 16);
    return `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})`;
  }
  return `color-mix(in srgb, ${color} ${Math.round(alpha * 100)}%, transparent)`;
}

export function cssColor(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || '#888';
}

export const LEVEL_COLOR: Record<string, string> = {
  critical: 'var(--bad)', fatal: 'var(--bad)', error: 'var(--bad)', err: 'var(--bad)', warn: 'var(--warn)',
  warning: 'var(--warn)', info: 'var(--good)', debug: 'var(--accent)', trace: 'var(--faint)', unknown: 'var(--faint)',
};
