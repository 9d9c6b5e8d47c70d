// A list of log lines that stays light with thousands of them: rows of one height, of which only
// those in sight exist. A line that is opened grows by its details, whose height is measured.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { LEVEL_COLOR } from '../lib/colors';
import { clock, dateTime, t } from '../lib/i18n';
import { fieldsOf, type LogLine } from '../lib/logs';
import { CopyButton, Labels } from './bits';
import { Icon } from './Icon';

const ROW_PX = 22;
const SPARE_ROWS = 12;

interface Props {
  lines: LogLine[];
  wrap?: boolean;
  onPick?: ((name: string, value: string, parsed: boolean) => void) | undefined;
}

export function LogList({ lines, wrap, onPick }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [open, setOpen] = useState<string | undefined>(undefined);
  const [openPx, setOpenPx] = useState(0);
  const openAt = useMemo(() => lines.findIndex((l) => l.id === open), [lines, open]);

  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const read = (): void => setView({ top: element.scrollTop, height: element.clientHeight });
    read();
    element.addEventListener('scroll', read, { passive: true });
    const observer = new ResizeObserver(read);
    observer.observe(element);
    return () => {
      element.removeEventListener('scroll', read);
      observer.disconnect();
    };
  }, []);

  if (wrap) {
    return (
      <div class="logs wrap" ref={box} tabIndex={0} role="list" aria-label={t('log_lines')}>
        {lines.slice(0, 500).map((line) => <Row key={line.id} line={line} open={line.id === open} toggle={() => setOpen(line.id === open ? undefined : line.id)} onPick={onPick} />)}
      </div>
    );
  }

  const extra = openAt >= 0 ? openPx : 0;
  const rowAt = (px: number): number => {
    if (openAt < 0 || px <= (openAt + 1) * ROW_PX) return Math.floor(px / ROW_PX);
    return Math.max(openAt, Math.floor((px - extra) / ROW_PX));
  };
  const first = Math.max(0, rowAt(view.top) - SPARE_ROWS);
  const last = Math.min(lines.length, rowAt(view.top + view.height) + SPARE_ROWS);
  const offset = first * ROW_PX + (openAt >= 0 && openAt < first ? extra : 0);
  return (
    <div class="logs" ref={box} tabIndex={0} role="list" aria-label={t('log_lines')}>
      <div class="logs-space" style={{ height: `${lines.length * ROW_PX + extra}px` }}>
        <div style={{ transform: `translateY(${offset}px)` }}>
          {lines.slice(first, last).map((line) => (
            <Row
              key={line.id}
              line={line}
              open={line.id === open}
              toggle={() => setOpen(line.id === open ? undefined : line.id)}
              onPick={onPick}
              onHeight={setOpenPx}
            />
          ))}
        </div>
      </div>
    </div>
  );
}

function Row({ line, open, toggle, onPick, onHeight }: {
  line: LogLine;
  open: boolean;
  toggle: () => void;
  onPick?: Props['onPick'];
  onHeight?: (px: number) => void;
}) {
  return (
    <div role="listitem" class={open ? 'log open' : 'log'}>
      <button type="button" class="log-line" onClick={toggle} aria-expanded={open}>
        <i class="log-level" style={{ background: LEVEL_COLOR[line.level] ?? 'var(--faint)' }} title={line.level} />
        <time>{clock(line.ms, true)}</time>
        <span class="visually-hidden">{line.level}</span>
        <span class="log-text">{line.text}</span>
      </button>
      {open && <Details line={line} onPick={onPick} onHeight={onHeight} />}
    </div>
  );
}

function Details({ line, onPick, onHeight }: { line: LogLine; onPick?: Props['onPick']; onHeight?: ((px: number) => void) | undefined }) {
  const ref = useRef<HTMLDivElement>(null);
  const fields = useMemo(() => fieldsOf(line.text), [line.text]);
  useEffect(() => {
    if (ref.current) onHeight?.(ref.current.offsetHeight);
  }, [line.id]);
  return (
    <div class="log-details" ref={ref}>
      <div class="log-full">
        <code>{line.text}</code>
        <CopyButton text={line.text} />
      </div>
      <div class="log-meta">{dateTime(line.ms, { dateStyle: 'full', timeStyle: 'medium' })}</div>
      <Labels labels={line.labels} {...(onPick ? { onPick: (n: string, v: string) => onPick(n, v, false) } : {})} />
      {fields.length > 0 && (
        <table class="log-fields">
          <tbody>
            {fields.map(([name, value]) => (
              <tr key={name}>
                <th>{name}</th>
                <td>{value}</td>
                <td class="tight">
                  {onPick && (
                    <button type="button" class="button ghost small" onClick={() => onPick(name, value, true)} aria-label={t('filter_on')} title={t('filter_on')}>
                      <Icon name="plus" size={12} />
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
