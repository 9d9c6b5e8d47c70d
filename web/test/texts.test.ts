import assert from 'node:assert/strict';
import test from 'node:test';
import { inLanguage, readDashboard } from '../src/lib/dashboard';
import { said, t } from '../src/lib/i18n';
import { lang } from '../src/lib/prefs';
import { tableOf } from '../src/lib/transform';
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

test('a text of the content is in the reader’s language when it has one', () => {
  const texts = { summary: 'the API is down', summary_fr: 'l’API ne répond plus', description: 'since then', description_fr: '', empty: '' };
  const cases: [name: string, english: string | undefined, french: string | undefined][] = [
    ['summary', 'the API is down', 'l’API ne répond plus'],
    ['description', 'since then', 'since then'],
    ['empty', undefined, undefined],
    ['missing', undefined, undefined],
  ];
  for (const [name, english, french] of cases) {
    lang.value = 'en';
    assert.equal(said(texts, name), english, name);
    lang.value = 'fr';
    assert.equal(said(texts, name), french, name);
  }
  assert.equal(said(undefined, 'summary'), undefined);
});

test('a dashboard changes its texts with the language and keeps the names that overrides use', () => {
  const read = readDashboard({
    title: 'Disks', title_fr: 'Disques', description: 'How full',
    panels: [{ type: 'row', title: 'Row', title_fr: 'Rangée', panels: [{
      type: 'table', title: 'Slow', title_fr: 'Lentes', description: 'Normal: none', description_fr: 'Normal\u00a0: aucune',
      fieldConfig: { defaults: { noValue: 'None', noValue_fr: 'Aucune', unit: 's' } },
      targets: [{ expr: 'x', legendFormat: 'sent', legendFormat_fr: 'envoyé' }],
      transformations: [{ id: 'organize', options: { renameByName: { Value: 'Mean' }, renameByName_fr: { Value: 'Moyenne' } } }],
    }] }],
  });
  const shown = (): unknown[] => {
    const { title, description, panels } = inLanguage(read);
    const inner = panels[0]?.panels?.[0];
    assert.equal(inner?.targets[0]?.legendFormat, 'sent');
    assert.equal(inner?.fieldConfig.defaults.unit, 's');
    const row = { refId: 'A', labels: {}, value: 1, timeMs: 0 };
    const table = tableOf(inner!, { span: { from: 0, to: 1 }, times: [], series: [], rows: [row], streams: [], errors: [], warnings: [], sent: [] });
    const column = table.columns.find((c) => c.name === 'Mean');
    return [title, description, panels[0]?.title, inner?.title, inner?.description, inner?.fieldConfig.defaults.noValue, column?.title];
  };
  lang.value = 'en';
  assert.deepEqual(shown(), ['Disks', 'How full', 'Row', 'Slow', 'Normal: none', 'None', undefined]);
  lang.value = 'fr';
  assert.deepEqual(shown(), ['Disques', 'How full', 'Rangée', 'Lentes', 'Normal\u00a0: aucune', 'Aucune', 'Moyenne']);
});
