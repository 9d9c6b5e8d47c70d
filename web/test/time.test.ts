import assert from 'node:assert/strict';
import test from 'node:test';
import { aligned, durationMs, instant, promDuration, rateIntervalMs, resolve, stepMs } from '../src/lib/time';

const NOW = Date.UTC(2026, 10, 26, 13, 45, 12);

test('instants are read the way Grafana writes them', () => {
  const cases: [string, number | undefined][] = [
    ['now', NOW],
    ['now-6h', NOW - 6 * 3600e3],
    ['now-1d', NOW - 86_400e3],
    ['now/d', Date.UTC(2026, 10, 26)],
    ['now-1d/d', Date.UTC(2026, 10, 25)],
    ['1700000000000', 1_700_000_000_000],
    ['1700000000', 1_700_000_000_000],
    ['2026-11-26T00:00:00Z', Date.UTC(2026, 10, 26)],
    ['yesterday', undefined],
    ['now-', undefined],
  ];
  for (const [text, wanted] of cases) assert.equal(instant(text, NOW), wanted, text);
});

test('a range that ends before it starts becomes a minute', () => {
  const { from, to } = resolve({ from: 'now', to: 'now-1h' }, NOW);
  assert.equal(to - from, 60_000);
});

test('durations go both ways', () => {
  for (const [text, ms] of [['15s', 15e3], ['1h30m', 5400e3], ['250ms', 250], ['7d', 604_800e3]] as const) assert.equal(durationMs(text), ms);
  assert.equal(durationMs('15'), undefined);
  for (const [ms, text] of [[15e3, '15s'], [300e3, '5m'], [7200e3, '2h'], [250, '250ms']] as const) assert.equal(promDuration(ms), text);
});

test('the step is never finer than the scrape and follows the width', () => {
  const span = (hours: number) => ({ from: NOW - hours * 3600e3, to: NOW });
  assert.equal(stepMs({ span: span(1) }), 15_000);
  assert.equal(stepMs({ span: span(6), maxDataPoints: 600 }), 30_000);
  assert.equal(stepMs({ span: span(24 * 30), maxDataPoints: 1000 }), 1_800_000);
  assert.equal(stepMs({ span: span(1), minIntervalMs: 60_000 }), 60_000);
  assert.equal(stepMs({ span: span(1), intervalFactor: 2 }), 30_000);
});

test('the rate interval always holds four scrapes', () => {
  assert.equal(rateIntervalMs(15_000), 60_000);
  assert.equal(rateIntervalMs(300_000), 315_000);
});

test('an aligned range starts and ends on a multiple of the step', () => {
  const { from, to } = aligned({ from: NOW - 3_600_123, to: NOW }, 30_000);
  assert.equal(from % 30_000, 0);
  assert.equal(to % 30_000, 0);
});
