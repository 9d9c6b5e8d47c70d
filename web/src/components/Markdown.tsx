// A small part of Markdown for text panels, made into nodes and never into HTML text: headings,
// lists, links, code, emphasis, rules. HTML inside is shown as the words it holds.
import type { ComponentChildren } from 'preact';

const INLINE = /(`[^`]+`)|\*\*([^*]+)\*\*|__([^_]+)__|\*([^*\s][^*]*)\*|\[([^\]]+)\]\(([^)\s]+)[^)]*\)|(https?:\/\/[^\s<>)]+)/g;

/** Only web addresses and our own pages may be linked to. */
export function safeHref(url: string): string | undefined {
  return /^(https?:|mailto:|\/(?!\/)|#)/i.test(url) ? url : undefined;
}

function inline(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    parts.push(text.slice(at, match.index));
    const [whole, code, strong, strong2, em, label, url, bare] = match;
    if (code) parts.push(<code>{code.slice(1, -1)}</code>);
    else if (strong ?? strong2) parts.push(<strong>{strong ?? strong2}</strong>);
    else if (em) parts.push(<em>{em}</em>);
    else {
      const to = safeHref(url ?? bare ?? '');
      parts.push(to ? <a href={to}>{label ?? bare}</a> : (label ?? whole));
    }
    at = match.index + whole.length;
  }
  parts.push(text.slice(at));
  return parts;
}

export function Markdown({ text }: { text: string }) {
  const blocks: ComponentChildren[] = [];
  const lines = text.replace(/\r/g, '').split('\n');
  let i = 0;
  const line = (): string => lines[i] ?? '';
  const take = (pattern: RegExp): string[] => {
    const taken: string[] = [];
    while (i < lines.length && pattern.test(line())) {
      taken.push(line());
      i += 1;
    }
    return taken;
  };
  while (i < lines.length) {
    const heading = /^(#{1,6})\s+(.*)/.exec(line());
    if (/^\s*$/.test(line())) {
      i += 1;
    } else if (/^```/.test(line())) {
      i += 1;
      const code = take(/^(?!```)/);
      i += 1;
      blocks.push(<pre><code>{code.join('\n')}</code></pre>);
    } else if (heading) {
      const Tag = `h${Math.min(6, (heading[1]?.length ?? 1) + 1)}` as 'h2';
      blocks.push(<Tag>{inline(heading[2] ?? '')}</Tag>);
      i += 1;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line())) {
      blocks.push(<hr />);
      i += 1;
    } else if (/^\s*[-*+]\s+/.test(line())) {
      blocks.push(<ul>{take(/^\s*[-*+]\s+/).map((l) => <li>{inline(l.replace(/^\s*[-*+]\s+/, ''))}</li>)}</ul>);
    } else if (/^\s*\d+[.)]\s+/.test(line())) {
      blocks.push(<ol>{take(/^\s*\d+[.)]\s+/).map((l) => <li>{inline(l.replace(/^\s*\d+[.)]\s+/, ''))}</li>)}</ol>);
    } else {
      const words = take(/^(?!\s*$|#{1,6}\s|```|\s*[-*+]\s+|\s*\d+[.)]\s+)/);
      if (words.length === 0) words.push(lines[i++] ?? '');
      blocks.push(<p>{inline(words.join(' '))}</p>);
    }
  }
  return <div class="prose">{blocks}</div>;
}

/** The words of a piece of HTML, without running or loading any of it. */
export function textOfHtml(html: string): string {
  return new DOMParser().parseFromString(html, 'text/html').body.textContent ?? '';
}
