import assert from 'node:assert/strict';
import test from 'node:test';
import { reduce, show, thresholdColor } from '../src/lib/fields';
import { sourceKind, type Panel } from '../src/lib/dashboard';
import { fieldsOf, levelOf, withFilter } from '../src/lib/logs';
import { metricNames, selector, seriesName } from '../src/lib/panelData';
import { fromOldLink, isPage } from '../src/lib/router';
import { interpolate, type Choice, type Choices } from '../src/lib/vars';
import { safeHref } from '../src/components/Markdown';

function choices(...list: { name: string; values: string[]; multi?: boolean; all?: string | null; options?: string[] }[]): Choices {
  return new Map(list.map(({ name, values, multi, all, options }): [string, Choice] => [name, {
    variable: { name, type: 'query', multi, includeAll: multi, allValue: all ?? null },
    options: (options ?? values).map((v) => ({ value: v, text: v })),
    values,
  }]));
}

const span = { from: 0, to: 3_600_000 };

test('variables are written into a query as Grafana writes them', () => {
  const have = choices(
    { name: 'job', values: ['a.b'] },
    { name: 'inst', values: ['h:1', 'h.2'], multi: true },
    { name: 'all', values: ['$__all'], multi: true, options: ['$__all', 'x', 'y'] },
    { name: 'any', values: ['$__all'], multi: true, all: '.*' },
    { name: 'none', values: [''] },
  );
  const cases: [string, string][] = [
    ['up{job="$job"}', 'up{job="a.b"}'],
    ['up{i=~"$inst"}', 'up{i=~"(h:1|h\\\\.2)"}'],
    ['up{i=~"${inst:pipe}"}', 'up{i=~"h:1|h.2"}'],
    ['${inst:csv} [[job]]', 'h:1,h.2 a.b'],
    ['${inst:regex}', '(h:1|h\\.2)'],
    ['up{a=~"$all"}', 'up{a=~"(x|y)"}'],
    ['up{a=~"$any"}', 'up{a=~".*"}'],
    ['up{release="$none"}', 'up{release=""}'],
    ['label_replace(up, "a", "$1", "b", "(.*)")', 'label_replace(up, "a", "$1", "b", "(.*)")'],
    ['rate(x[$__rate_interval])', 'rate(x[75s])'],
    ['x[${__interval}] $__range $__range_s $unknown', 'x[15s] 3600s 3600 $unknown'],
  ];
  for (const [text, wanted] of cases) {
    assert.equal(interpolate(text, have, { span, intervalMs: 15_000, rateIntervalMs: 75_000 }), wanted, text);
  }
});

test('metric names are found and functions, labels and words are not taken for one', () => {
  const cases: [string, string[]][] = [
    ['100 - (avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])) * 100)', ['node_cpu_seconds_total']],
    ['a / on (x) group_left (y) b', ['a', 'b']],
    ['histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m])))', ['h_bucket']],
    ['up == 0 and on() vector(1)', ['up']],
    ['sum without (cpu) (x:y:z)', ['x:y:z']],
  ];
  for (const [expr, wanted] of cases) assert.deepEqual(metricNames(expr), wanted, expr);
});

test('series are named by their legend, their only label or their selector', () => {
  assert.equal(seriesName({ legendFormat: '{{ a }}-{{b}}' }, { a: '1', b: '2' }), '1-2');
  assert.equal(seriesName({}, { path: '/x' }), '/x');
  assert.equal(seriesName({ legendFormat: '__auto' }, { __name__: 'up', job: 'a' }), 'up{job="a"}');
  assert.equal(seriesName({ expr: 'sum(up)' }, {}), 'sum(up)');
  assert.equal(selector({ __name__: 'up' }), 'up');
});

test('a log query is one even when its panel does not say so', () => {
  const panel = { datasource: null } as unknown as Panel;
  assert.equal(sourceKind(panel, { expr: '{job="a"} |= "x"' }), 'loki');
  assert.equal(sourceKind(panel, { expr: 'up{job="a"}' }), 'prometheus');
  assert.equal(sourceKind(panel, { expr: 'x', datasource: { type: 'loki', uid: 'l' } }), 'loki');
  assert.equal(sourceKind(panel, { expr: 'x', datasource: { type: 'mysql' } }), 'other');
});

test('a click on a label or field narrows the query', () => {
  const json = '{"level":"ERROR","duration_ms":12}';
  const cases: [string, string, string, boolean, string][] = [
    ['{job="a"}', 'instance', 'h', false, '{job="a", instance="h"}'],
    ['{job="a"} |= "x"', 'job', 'b', false, '{job="b"} |= "x"'],
    ['{job="a"}', 'level', 'ERROR', true, '{job="a"} | json | level = "ERROR"'],
    ['{job="a"} | json', 'duration_ms', '12', true, '{job="a"} | json | duration_ms = 12'],
  ];
  for (const [query, name, value, parsed, wanted] of cases) assert.equal(withFilter(query, name, value, parsed, json), wanted);
});

test('fields and levels are read from JSON, logfmt and plain text', () => {
  assert.deepEqual(fieldsOf('{"a":1,"b":{"c":"x"}}'), [['a', '1'], ['b_c', 'x']]);
  assert.deepEqual(fieldsOf('a=1 msg="two words"'), [['a', '1'], ['msg', 'two words']]);
  assert.deepEqual(fieldsOf('plain text, k=v'), []);
  assert.equal(levelOf({}, '{"level":"WARN"}'), 'warn');
  assert.equal(levelOf({ level: 'error' }, 'info'), 'error');
  assert.equal(levelOf({}, '2026-11-26 LOG:  all fine'), 'unknown');
  assert.equal(levelOf({}, '2026-11-26 ERROR: no'), 'error');
});

test('reducers leave out nulls, thresholds and mappings colour and word a value', () => {
  assert.equal(reduce([1, null, 3, null], 'lastNotNull'), 3);
  assert.equal(reduce([1, null, 3], 'mean'), 2);
  assert.equal(reduce([null], 'max'), null);
  const config = { thresholds: { steps: [{ value: null, color: '#00ff00' }, { value: 80, color: '#ff0000' }] }, mappings: [{ type: 'value', options: { 1: { text: 'up' } } }] };
  assert.equal(thresholdColor(config, 79.9), '#00ff00');
  assert.equal(thresholdColor(config, 80), '#ff0000');
  assert.equal(show(config, 1).text, 'up');
});

test('links of the originals lead to our pages', () => {
  const at = (url: string) => {
    const u = new URL(url, 'http://x');
    return fromOldLink({ path: u.pathname, query: u.searchParams, hash: u.hash });
  };
  assert.equal(at('/graph?g0.expr=up&g0.tab=1&g0.range_input=6h'), '/explore?tab=metrics&expr=up&from=now-6h');
  assert.equal(at('/#/alerts?receiver=x'), '/alerts');
  assert.equal(at('/rules'), '/alerts');
  assert.equal(at('/explore?expr=up'), undefined);
  assert.ok(isPage('/d/a/b') && !isPage('/metrics') && !isPage('/api/v1/query') && !isPage('/status'));
});

test('a link in a dashboard cannot run a script', () => {
  for (const url of ['javascript:alert(1)', ' javascript:alert(1)', 'data:text/html,x', '//evil.example', 'vbscript:x']) assert.equal(safeHref(url), undefined, url);
  for (const url of ['https://a.example/x', '/d/x', '#top', 'mailto:a@b.example']) assert.equal(safeHref(url), url);
});
