// The table panel: instant values as rows, with the transformations that dashboards use for tables.
import { useMemo, useState } from 'preact/hooks';
import { withAlpha } from '../lib/colors';
import type { Panel } from '../lib/dashboard';
import { asText, fieldConfig, show } from '../lib/fields';
import type { PanelData } from '../lib/panelData';
import { tableOf, type Cell } from '../lib/transform';
import { dateTime, t } from '../lib/i18n';

const MAX_ROWS = 200;

export function Table({ panel, data }: { panel: Panel; data: PanelData }) {
  const table = useMemo(() => tableOf(panel, data), [panel, data]);
  const first = panel.options.sortBy?.[0];
  const [sort, setSort] = useState<{ name: string; desc: boolean } | undefined>(
    first ? { name: first.displayName, desc: first.desc ?? false } : undefined,
  );
  const { defaults, overrides } = panel.fieldConfig;
  const columns = table.columns
    .map((column, at) => {
      const config = fieldConfig(defaults, overrides, { name: column.name, refId: column.refId ?? '', type: column.type });
      return { column, at, config, title: config.displayName ?? column.title ?? column.name };
    })
    .filter(({ config }) => config.custom?.hidden !== true);
  const rows = useMemo(() => {
    const by = columns.find((c) => c.title === sort?.name || c.column.name === sort?.name)?.at;
    if (by === undefined) return table.rows;
    const way = sort?.desc ? -1 : 1;
    return [...table.rows].sort((a, b) => way * compare(a[by] ?? null, b[by] ?? null));
  }, [table, sort]);

  return (
    <div class="table-box">
      <table class="data">
        <thead>
          <tr>
            {columns.map(({ title, column }) => (
              <th key={title} class={column.type === 'number' ? 'num' : ''} aria-sort={sort?.name === title ? (sort.desc ? 'descending' : 'ascending') : 'none'}>
                <button type="button" onClick={() => setSort((was) => (was?.name === title ? { name: title, desc: !was.desc } : { name: title, desc: column.type === 'number' }))}>
                  {title}
                  {sort?.name === title ? (sort.desc ? ' ↓' : ' ↑') : ''}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, MAX_ROWS).map((row, i) => (
            <tr key={i}>
              {columns.map(({ column, at, config, title }) => {
                const value = row[at] ?? null;
                if (column.type === 'time') return <td key={title}>{value === null ? '–' : dateTime(Number(value))}</td>;
                const shown = show(config, value);
                const kind = config.custom?.cellOptions?.type ?? config.custom?.displayMode ?? 'auto';
                const style = !shown.color ? {} : kind === 'color-text' ? { color: shown.color } : kind.startsWith('color-background') ? { background: withAlpha(shown.color, 0.22) } : {};
                return (
                  <td key={title} class={column.type === 'number' ? 'num' : ''} style={style} title={column.type === 'string' ? String(value ?? '') : ''}>
                    {asText(shown)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > MAX_ROWS && <p class="note">{t('and_more', { n: rows.length - MAX_ROWS })}</p>}
    </div>
  );
}

function compare(a: Cell, b: Cell): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (a === null) return -1;
  if (b === null) return 1;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}
