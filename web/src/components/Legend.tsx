// The legend under or beside a graph: a list, or a table with calculated columns. A click shows one
// series alone (again: all), a click with Ctrl or Shift adds or removes one.
import { useMemo, useState } from 'preact/hooks';
import { calcName, reduce } from '../lib/fields';
import { t } from '../lib/i18n';
import { format } from '../lib/units';
import type { GraphSeries } from './Graph';

interface Props {
  series: GraphSeries[];
  table: boolean;
  calcs: string[];
  hidden: Set<string>;
  onChange: (hidden: Set<string>) => void;
  sortBy?: string | undefined;
  sortDesc?: boolean | undefined;
}

export function toggled(hidden: Set<string>, name: string, all: string[], add: boolean): Set<string> {
  if (add) {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    return next;
  }
  const alone = hidden.size === all.length - 1 && !hidden.has(name);
  return alone ? new Set() : new Set(all.filter((other) => other !== name));
}

export function Legend({ series, table, calcs, hidden, onChange, sortBy, sortDesc }: Props) {
  const [sort, setSort] = useState<{ by: string; desc: boolean } | undefined>(
    sortBy ? { by: calcs.find((c) => calcName(c).toLowerCase() === sortBy.toLowerCase() || c === sortBy.toLowerCase()) ?? sortBy, desc: sortDesc ?? true } : undefined,
  );
  const names = series.map((s) => s.name);
  const press = (event: MouseEvent, name: string): void =>
    onChange(toggled(hidden, name, names, event.ctrlKey || event.metaKey || event.shiftKey));
  const rows = useMemo(() => {
    const made = series.map((s) => ({ s, values: calcs.map((c) => reduce(s.values, c)) }));
    if (!sort) return made;
    const at = calcs.indexOf(sort.by);
    const way = sort.desc ? -1 : 1;
    return made.sort((a, b) =>
      at < 0 ? way * a.s.name.localeCompare(b.s.name) : way * ((a.values[at] ?? -Infinity) - (b.values[at] ?? -Infinity)));
  }, [series, calcs.join(), sort]);

  if (!table) {
    return (
      <div class="legend list">
        {series.map((s, i) => (
          <button type="button" key={`${s.name} ${i}`} class={hidden.has(s.name) ? 'off' : ''} aria-pressed={!hidden.has(s.name)} onClick={(e) => press(e, s.name)} title={t('legend_hint')}>
            <i style={{ background: s.color }} />
            {s.name}
            {calcs.map((c) => (
              <span key={c} class="legend-calc">
                {calcName(c)} <b>{format(reduce(s.values, c), s.unit, s.decimals)}</b>
              </span>
            ))}
          </button>
        ))}
      </div>
    );
  }
  const head = (by: string, text: string) => (
    <button type="button" onClick={() => setSort((was) => (was?.by === by ? { by, desc: !was.desc } : { by, desc: true }))}>
      {text}
      {sort?.by === by ? (sort.desc ? ' ↓' : ' ↑') : ''}
    </button>
  );
  return (
    <div class="legend table">
      <table>
        <thead>
          <tr>
            <th>{head('name', t('name'))}</th>
            {calcs.map((c) => (
              <th key={c} class="num" aria-sort={sort?.by === c ? (sort.desc ? 'descending' : 'ascending') : 'none'}>
                {head(c, calcName(c))}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ s, values }, i) => (
            <tr key={`${s.name} ${i}`} class={hidden.has(s.name) ? 'off' : ''}>
              <td>
                <button type="button" aria-pressed={!hidden.has(s.name)} onClick={(e) => press(e, s.name)} title={t('legend_hint')}>
                  <i style={{ background: s.color }} />
                  {s.name}
                </button>
              </td>
              {values.map((v, j) => (
                <td key={j} class="num">{format(v, s.unit, s.decimals)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
