// Links between the rooms: from an alert to its runbook, from an expression to Explore.
import type { Rule, RuleAlert, RunbookHead } from './api';
import { safeHref } from '../components/Markdown';
import { href, isPage } from './router';

const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '');

/** The annotation's own link if it has one, else the runbook that names this alert. */
export function runbookLink(rule: Rule, alert: RuleAlert | undefined, runbooks: RunbookHead[]): string | undefined {
  const annotation = alert?.annotations?.runbook_url ?? rule.annotations?.runbook_url ?? rule.annotations?.runbook;
  if (annotation) {
    const url = safeHref(annotation);
    if (url?.startsWith('/')) return href(url);
    try {
      // A link to this same server, under whatever name, stays in the page.
      const parsed = new URL(url ?? '');
      if (parsed.origin === window.location.origin && isPage(parsed.pathname)) return parsed.pathname;
      return url;
    } catch {
      // Not an address: may be a runbook's name.
      const named = runbooks.find((r) => plain(r.slug) === plain(annotation));
      if (named) return href(`/runbooks/${named.slug}`);
    }
  }
  const found = runbooks.find((r) => plain(r.alert ?? '') === plain(rule.name) || plain(r.slug) === plain(rule.name) || plain(r.title) === plain(rule.name));
  return found ? href(`/runbooks/${found.slug}`) : undefined;
}

export const exploreMetrics = (expr: string, from = 'now-1h'): string =>
  href(`/explore?${new URLSearchParams({ tab: 'metrics', expr, from, to: 'now' })}`);
