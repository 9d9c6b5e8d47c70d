// A query editor: a plain text area that grows, runs on Ctrl+Enter (Enter alone when it is one
// line), and offers names for the word under the cursor.
import { useEffect, useRef, useState } from 'preact/hooks';
import { t } from '../lib/i18n';

interface Props {
  value: string;
  onChange: (value: string) => void;
  onRun: (value: string) => void;
  suggest: () => Promise<string[]>;
  label: string;
  placeholder?: string;
}

const MAX_SHOWN = 12;
const WORD = /[a-zA-Z_:][\w:]*$/;

/** Words in quotes or braces are label values and names: no metric is offered there. */
function wordBefore(text: string): string {
  const open = text.lastIndexOf('{');
  if (open > text.lastIndexOf('}')) return '';
  if ((text.match(/"/g)?.length ?? 0) % 2 === 1) return '';
  return WORD.exec(text)?.[0] ?? '';
}

function rank(names: string[], word: string): string[] {
  const low = word.toLowerCase();
  const starts: string[] = [];
  const holds: string[] = [];
  for (const name of names) {
    const at = name.toLowerCase().indexOf(low);
    if (at === 0) starts.push(name);
    else if (at > 0) holds.push(name);
    if (starts.length >= MAX_SHOWN) break;
  }
  const found = [...starts, ...holds].slice(0, MAX_SHOWN);
  return found.length === 1 && found[0] === word ? [] : found;
}

export function Editor({ value, onChange, onRun, suggest, label, placeholder }: Props) {
  const field = useRef<HTMLTextAreaElement>(null);
  const [offers, setOffers] = useState<string[]>([]);
  const [at, setAt] = useState(-1);
  const id = useRef(`editor-${Math.random().toString(36).slice(2)}`).current;

  useEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight + 2}px`;
  }, [value]);

  const look = async (): Promise<void> => {
    const element = field.current;
    if (!element) return;
    const word = wordBefore(element.value.slice(0, element.selectionStart));
    if (word.length < 2) {
      setOffers([]);
      return;
    }
    const names = await suggest().catch((): string[] => []);
    setOffers(rank(names, word));
    setAt(-1);
  };

  const take = (name: string): void => {
    const element = field.current;
    if (!element) return;
    const caret = element.selectionStart;
    const before = element.value.slice(0, caret).replace(WORD, name);
    // Written into the field at once, not with the next drawing: the next key may come before that.
    element.value = before + element.value.slice(caret);
    element.setSelectionRange(before.length, before.length);
    element.focus();
    onChange(element.value);
    setOffers([]);
  };

  const key = (event: KeyboardEvent): void => {
    if (offers.length > 0) {
      if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
        event.preventDefault();
        const step = event.key === 'ArrowDown' ? 1 : -1;
        setAt((at + step + offers.length) % offers.length);
        return;
      }
      const chosen = offers[at];
      if ((event.key === 'Enter' || event.key === 'Tab') && !event.ctrlKey && chosen) {
        event.preventDefault();
        take(chosen);
        return;
      }
      if (event.key === 'Escape') {
        event.stopPropagation();
        setOffers([]);
        return;
      }
    }
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey || (!event.shiftKey && !value.includes('\n')))) {
      event.preventDefault();
      setOffers([]);
      onRun(field.current?.value ?? value);
    }
  };

  return (
    <div class="editor">
      <textarea
        ref={field}
        data-search
        rows={1}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        value={value}
        placeholder={placeholder}
        aria-label={label}
        aria-autocomplete="list"
        aria-controls={offers.length > 0 ? id : undefined}
        aria-activedescendant={at >= 0 ? `${id}-${at}` : undefined}
        onInput={(e) => {
          onChange(e.currentTarget.value);
          void look();
        }}
        onKeyDown={key}
        onBlur={() => window.setTimeout(() => setOffers([]), 150)}
      />
      {offers.length > 0 && (
        <ul class="offers" role="listbox" id={id} aria-label={t('suggestions')}>
          {offers.map((name, i) => (
            <li key={name} id={`${id}-${i}`} role="option" aria-selected={i === at} class={i === at ? 'on' : ''} onPointerDown={(e) => { e.preventDefault(); take(name); }}>
              {name}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** A server's error with the place it speaks of: Prometheus says "1:5: parse error: …". */
export function QueryError({ query, message }: { query: string; message: string }) {
  const place = /(?:^|\s)(\d+):(\d+): (?=parse error|.*)/.exec(message) ?? /at line (\d+), col (\d+)/.exec(message) ?? /line (\d+), column (\d+)/.exec(message);
  const line = place ? (query.split('\n')[Number(place[1]) - 1] ?? '') : '';
  const column = place ? Math.max(0, Number(place[2]) - 1) : 0;
  return (
    <div class="query-error" role="alert">
      {place && line && (
        <pre>
          {line.slice(0, column)}
          <mark>{line.slice(column, column + 1) || ' '}</mark>
          {line.slice(column + 1)}
          {'\n'}
          {' '.repeat(column)}^
        </pre>
      )}
      <span>{message}</span>
    </div>
  );
}
