// Tables from query results, and the transformations that shape them: merge, joinByField, organize,
// filterFieldsByName, sortBy, reduce, renameByRegex, limit. One that is not known changes nothing.
import type { Panel, Transformation } from './dashboard';
import { calcName, reduce } from './fields';
import type { PanelData, TableRow } from './panelData';
import { lang } from './prefs';

export type Cell = string | number | null;
export interface Column { name: string; title?: string | undefined; type: 'string' | 'number' | 'time'; refId?: string }
export interface TableData { columns: Column[]; rows: Cell[][] }

export function tableOf(panel: Panel, data: PanelData): TableData {
  const refIds = [...new Set(data.rows.map((r) => r.refId))];
  const several = panel.targets.filter((target) => !target.hide).length > 1;
  const active = panel.transformations.filter((tr) => !tr.disabled);
  const reducing = active.find((tr) => tr.id === 'reduce');
  if (reducing || data.rows.length === 0) return apply(reduced(data, reducing), active);
  const frames = refIds.map((refId) => frame(data.rows.filter((r) => r.refId === refId), refId, several));
  const joined = active.some((tr) => tr.id === 'merge' || tr.id === 'joinByField' || tr.id === 'seriesToColumns');
  const join = active.find((tr) => tr.id === 'joinByField' || tr.id === 'seriesToColumns');
  const key = (join?.options?.byField as string | undefined) ?? undefined;
  const start = joined || frames.length > 1 ? mergeFrames(frames, key) : (frames[0] ?? { columns: [], rows: [] });
  return apply(start, active);
}

function frame(rows: TableRow[], refId: string, several: boolean): TableData {
  const names = [...new Set(rows.flatMap((r) => Object.keys(r.labels)))].filter((n) => n !== '__name__').sort();
  const value = several ? `Value #${refId}` : 'Value';
  return {
    columns: [
      { name: 'Time', type: 'time' },
      ...names.map((name): Column => ({ name, type: 'string' })),
      { name: value, type: 'number', refId },
    ],
    rows: rows.map((r) => [r.timeMs, ...names.map((n) => r.labels[n] ?? null), r.value]),
  };
}

/** Rows with the same texts (or the same key) become one; numbers stand side by side. */
function mergeFrames(frames: TableData[], key?: string): TableData {
  const columns: Column[] = [];
  for (const f of frames) {
    for (const c of f.columns) if (!columns.some((x) => x.name === c.name)) columns.push(c);
  }
  const order = (c: Column): number => (c.type === 'time' ? 0 : c.type === 'string' ? 1 : 2);
  columns.sort((a, b) => order(a) - order(b));
  const byKey = new Map<string, Cell[]>();
  for (const f of frames) {
    for (const row of f.rows) {
      const id = f.columns
        .map((c, i) => ((key ? c.name === key : c.type === 'string') ? `${c.name}=${row[i] ?? ''}` : ''))
        .join('\u0000').replace(/^\u0000+|\u0000+$/g, '');
      const out = byKey.get(id) ?? columns.map((): Cell => null);
      f.columns.forEach((c, i) => {
        const at = columns.findIndex((x) => x.name === c.name);
        if (out[at] === null) out[at] = row[i] ?? null;
      });
      byKey.set(id, out);
    }
  }
  return { columns, rows: [...byKey.values()] };
}

/** One row for each series, a column for each calculation. */
function reduced(data: PanelData, transformation: Transformation | undefined): TableData {
  const calcs = (transformation?.options?.reducers as string[] | undefined) ?? ['lastNotNull'];
  const withLabels = transformation?.options?.labelsToFields === true;
  const labels = withLabels ? [...new Set(data.series.flatMap((s) => Object.keys(s.labels)))].filter((n) => n !== '__name__') : [];
  return {
    columns: [
      { name: 'Field', type: 'string' },
      ...labels.map((name): Column => ({ name, type: 'string' })),
      ...calcs.map((c): Column => ({ name: transformation ? grafanaName(c) : calcName(c), type: 'number' })),
    ],
    rows: data.series.map((s) => [s.title, ...labels.map((n) => s.labels[n] ?? null), ...calcs.map((c) => reduce(s.values, c))]),
  };
}

/** The columns that Grafana's reduce makes have English names, which overrides refer to. */
const grafanaName = (calc: string): string =>
  ({ mean: 'Mean', max: 'Max', min: 'Min', sum: 'Total', last: 'Last', lastNotNull: 'Last *', first: 'First', firstNotNull: 'First *', count: 'Count' })[calc] ?? calc;

function apply(table: TableData, transformations: Transformation[]): TableData {
  return transformations.reduce((now, { id, options = {} }) => {
    switch (id) {
      case 'organize': return organize(now, options);
      case 'filterFieldsByName': return filterFields(now, options);
      case 'sortBy': return sortBy(now, options);
      case 'renameByRegex': return renameByRegex(now, options);
      case 'limit': return { ...now, rows: now.rows.slice(0, Number(options.limitField ?? 10)) };
    }
    return now;
  }, table);
}

function keep(table: TableData, wanted: number[]): TableData {
  return {
    columns: wanted.map((i) => table.columns[i]).filter((c): c is Column => c !== undefined),
    rows: table.rows.map((row) => wanted.map((i) => row[i] ?? null)),
  };
}

function organize(table: TableData, options: Record<string, unknown>): TableData {
  const excluded = (options.excludeByName ?? {}) as Record<string, boolean>;
  const order = (options.indexByName ?? {}) as Record<string, number>;
  const names = (options.renameByName ?? {}) as Record<string, string>;
  const titles = (options[`renameByName_${lang.value}`] ?? {}) as Record<string, string>;
  const wanted = table.columns
    .map((c, i) => ({ i, at: order[c.name] ?? 1000 + i, name: c.name }))
    .filter((c) => !excluded[c.name])
    .sort((a, b) => a.at - b.at)
    .map((c) => c.i);
  const kept = keep(table, wanted);
  return { ...kept, columns: kept.columns.map((c) => ({ ...c, name: names[c.name] || c.name, title: titles[c.name] })) };
}

function filterFields(table: TableData, options: Record<string, unknown>): TableData {
  const { names, pattern } = (options.include ?? {}) as { names?: string[]; pattern?: string };
  let match = (name: string): boolean => names?.includes(name) ?? false;
  if (pattern) {
    try {
      const regex = new RegExp(pattern.replace(/^\/|\/$/g, ''));
      match = (name) => (names?.includes(name) ?? false) || regex.test(name);
    } catch {
      // A pattern that is no regular expression filters nothing out.
      return table;
    }
  }
  if (!names && !pattern) return table;
  return keep(table, table.columns.flatMap((c, i) => (match(c.name) ? [i] : [])));
}

function sortBy(table: TableData, options: Record<string, unknown>): TableData {
  const { field, desc } = ((options.sort ?? []) as { field?: string; desc?: boolean }[])[0] ?? {};
  const at = table.columns.findIndex((c) => c.name === field);
  if (at < 0) return table;
  const way = desc ? -1 : 1;
  const rows = [...table.rows].sort((a, b) => {
    const [x, y] = [a[at] ?? null, b[at] ?? null];
    if (typeof x === 'number' && typeof y === 'number') return way * (x - y);
    return way * String(x ?? '').localeCompare(String(y ?? ''));
  });
  return { ...table, rows };
}

function renameByRegex(table: TableData, options: Record<string, unknown>): TableData {
  try {
    const regex = new RegExp(String(options.regex ?? ''));
    const to = String(options.renamePattern ?? '');
    return { ...table, columns: table.columns.map((c) => ({ ...c, name: c.name.replace(regex, to) })) };
  } catch {
    return table;
  }
}
