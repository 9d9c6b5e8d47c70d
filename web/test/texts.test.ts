import assert from 'node:assert/strict';
import test from 'node:test';
import { t } from '../src/lib/i18n';
import { lang } from '../src/lib/prefs';
import { format } from '../src/lib/units';
import { en } from '../src/locales/en';
import { fr } from '../src/locales/fr';

const places = (text: string): string[] => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

test('both languages have the same texts with the same places and plurals', () => {
  assert.deepEqual(Object.keys(fr).sort(), Object.keys(en).sort());
  for (const key of Object.keys(en) as (keyof typeof en)[]) {
    assert.deepEqual(places(fr[key]), places(en[key]), key);
    assert.equal(fr[key].split(' | ').length, en[key].split(' | ').length, key);
  }
});

test('plurals follow the language', () => {
  lang.value = 'en';
  assert.equal(t('home_alerts', { n: 0 }), '0 alerts are firing');
  assert.equal(t('home_alerts', { n: 1 }), '1 alert is firing');
  lang.value = 'fr';
  assert.equal(t('home_alerts', { n: 0 }), '0 alerte active');
  assert.equal(t('home_alerts', { n: 2 }), '2 alertes actives');
});

test('values are written in their unit and in the language', () => {
  lang.value = 'en';
  const cases: [number | null, string, string][] = [
    [1536, 'bytes', '1.5 KiB'], [1500, 'decbytes', '1.5 kB'], [0.123, 'percentunit', '12.3 %'], [42, 'percent', '42 %'],
    [0.0042, 's', '4.2 ms'], [90, 's', '1.5 min'], [1234, 'short', '1.23K'], [0.5, 'reqps', '0.5 req/s'], [2500, 'ops', '2.5k ops/s'],
    [125_000, 'Bps', '125 kB/s'], [3, 'cores', '3 cores'], [7, 'suffix: ex', '7 ex'], [null, 's', '–'], [Infinity, '', '+∞'], [1, 'bool_yes_no', 'Yes'],
    [93_784, 'dtdurations', '1 d 2 h'], [0, 'bytes', '0 B'],
  ];
  for (const [value, unit, wanted] of cases) assert.equal(format(value, unit).replace(/\u00a0/g, ' '), wanted, unit);
  lang.value = 'fr';
  assert.equal(format(1536, 'bytes'), '1,5\u00a0KiB');
});
