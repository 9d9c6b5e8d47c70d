// Choosing the range (relative or absolute) and how often to ask again. The range lives in the URL.
import { useEffect, useRef, useState } from 'preact/hooks';
import { dateTime, t } from '../lib/i18n';
import { onKey } from '../lib/keys';
import { instant, QUICK_RANGES, REFRESHES, resolve, shift, zoomOut, type Range } from '../lib/time';
import { Icon } from './Icon';

interface Props {
  range: Range;
  onRange: (range: Range) => void;
  refresh?: string;
  onRefresh?: (refresh: string) => void;
  onReload?: () => void;
}

export function rangeText(range: Range): string {
  const quick = /^now-(\d+)([mhd])$/.exec(range.from);
  if (quick && range.to === 'now') return t('last_range', { range: `${quick[1]} ${unitWord(quick[2] ?? '')}` });
  const { from, to } = resolve(range);
  if (range.from.startsWith('now') && range.to === 'now') return `${range.from} → now`;
  const sameDay = new Date(from).toDateString() === new Date(to).toDateString();
  const end = sameDay ? dateTime(to, { hour: '2-digit', minute: '2-digit' }) : dateTime(to, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
  return `${dateTime(from, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })} → ${end}`;
}

const unitWord = (unit: string): string => ({ m: 'min', h: 'h', d: t('unit_day') })[unit] ?? unit;

export function TimePicker({ range, onRange, refresh, onRefresh, onReload }: Props) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const latest = useRef({ range, onRange });
  latest.current = { range, onRange };

  useEffect(() => {
    const offs = [
      onKey('t', () => setOpen((was) => !was)),
      onKey('+', () => {
        const { from, to } = resolve(latest.current.range);
        const quarter = (to - from) / 4;
        latest.current.onRange({ from: String(Math.round(from + quarter)), to: String(Math.round(to - quarter)) });
      }),
      onKey('-', () => latest.current.onRange(zoomOut(resolve(latest.current.range)))),
      ...(onReload ? [onKey('r', onReload)] : []),
    ];
    return () => offs.forEach((off) => off());
  }, [onReload]);

  useEffect(() => {
    if (!open) return undefined;
    const close = (event: Event): void => {
      if (event instanceof KeyboardEvent ? event.key === 'Escape' : !root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', close);
    document.addEventListener('keydown', close);
    return () => {
      document.removeEventListener('pointerdown', close);
      document.removeEventListener('keydown', close);
    };
  }, [open]);

  const move = (by: number): void => onRange(shift(resolve(range), by));
  return (
    <div class="time-picker" ref={root}>
      <div class="group">
        <button type="button" class="button icon-only hide-phone" onClick={() => move(-0.5)} aria-label={t('earlier')} title={t('earlier')}><Icon name="arrowLeft" size={14} /></button>
        <button type="button" class="button" aria-haspopup="dialog" aria-expanded={open} onClick={() => setOpen(!open)}>
          <Icon name="clock" size={14} />
          {rangeText(range)}
          <Icon name="chevronDown" size={12} />
        </button>
        <button type="button" class="button icon-only hide-phone" onClick={() => move(0.5)} aria-label={t('later')} title={t('later')}><Icon name="arrowRight" size={14} /></button>
        <button type="button" class="button icon-only hide-phone" onClick={() => onRange(zoomOut(resolve(range)))} aria-label={t('zoom_out')} title={t('zoom_out')}><Icon name="zoomOut" size={14} /></button>
      </div>
      {onRefresh && (
        <div class="group">
          {onReload && <button type="button" class="button icon-only" onClick={onReload} aria-label={t('refresh')} title={t('refresh')}><Icon name="refresh" size={14} /></button>}
          <select class="button select" value={refresh ?? ''} onChange={(e) => onRefresh(e.currentTarget.value)} aria-label={t('refresh_every')}>
            {REFRESHES.map((r) => <option key={r} value={r}>{r || t('refresh_off')}</option>)}
            {refresh && !(REFRESHES as readonly string[]).includes(refresh) && <option value={refresh}>{refresh}</option>}
          </select>
        </div>
      )}
      {open && <Popover range={range} onRange={(next) => { setOpen(false); onRange(next); }} />}
    </div>
  );
}

const localText = (ms: number): string => {
  const d = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return d.toISOString().slice(0, 16);
};

function Popover({ range, onRange }: { range: Range; onRange: (range: Range) => void }) {
  const now = resolve(range);
  const [from, setFrom] = useState(localText(now.from));
  const [to, setTo] = useState(localText(now.to));
  const valid = (instant(from, Date.now()) ?? NaN) < (instant(to, Date.now()) ?? NaN);
  const apply = (event: Event): void => {
    event.preventDefault();
    if (valid) onRange({ from: String(Date.parse(from)), to: String(Date.parse(to)) });
  };
  return (
    <div class="popover" role="dialog" aria-label={t('time_range')}>
      <form onSubmit={apply}>
        <label>{t('from')}<input type="datetime-local" value={from} onInput={(e) => setFrom(e.currentTarget.value)} /></label>
        <label>{t('to')}<input type="datetime-local" value={to} onInput={(e) => setTo(e.currentTarget.value)} /></label>
        <button type="submit" class="button primary" disabled={!valid}>{t('apply')}</button>
      </form>
      <div class="quick">
        {QUICK_RANGES.map((r) => (
          <button type="button" key={r} class={range.from === `now-${r}` && range.to === 'now' ? 'on' : ''} onClick={() => onRange({ from: `now-${r}`, to: 'now' })}>
            {rangeText({ from: `now-${r}`, to: 'now' })}
          </button>
        ))}
        <button type="button" class={range.from === 'now/d' ? 'on' : ''} onClick={() => onRange({ from: 'now/d', to: 'now' })}>{t('today')}</button>
      </div>
    </div>
  );
}
