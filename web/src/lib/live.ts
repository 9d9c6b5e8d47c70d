// What every page shows a part of: the rules with their alerts, and the program's own status.
// Polled here once for all, while the page is visible.
import { computed, signal } from '@preact/signals';
import { prom, vigie, type Rule, type RuleAlert, type RuleGroup, type Status } from './api';

const POLL_MS = 10_000;

export const ruleGroups = signal<RuleGroup[] | undefined>(undefined);
export const status = signal<Status | undefined>(undefined);
/** The server does not answer: what is shown may be old. */
export const offline = signal<boolean>(false);

export interface ActiveAlert {
  rule: Rule;
  alert: RuleAlert;
  severity: Severity;
  sinceMs: number;
}

export type Severity = 'high' | 'medium' | 'low';

/** The many words for severity, in three ranks. */
export function severityOf(labels: Record<string, string> | undefined): Severity {
  const word = (labels?.severity ?? labels?.priority ?? '').toLowerCase();
  if (/^(high|critical|crit|haute|page|p0|p1|sev1|sev2|emergency|disaster)$/.test(word)) return 'high';
  if (/^(low|info|none|basse|p3|sev4|notice)$/.test(word)) return 'low';
  return 'medium';
}

const RANK: Record<Severity, number> = { high: 0, medium: 1, low: 2 };

export const activeAlerts = computed<ActiveAlert[]>(() => {
  const found: ActiveAlert[] = [];
  for (const group of ruleGroups.value ?? []) {
    for (const rule of group.rules) {
      for (const alert of rule.alerts ?? []) {
        if (alert.state === 'inactive') continue;
        const sinceMs = Date.parse(alert.activeAt ?? '') || Date.now();
        found.push({ rule, alert, severity: severityOf({ ...rule.labels, ...alert.labels }), sinceMs });
      }
    }
  }
  const order = (a: ActiveAlert): number => (a.alert.state === 'firing' ? 0 : 10) + RANK[a.severity];
  return found.sort((a, b) => order(a) - order(b) || b.sinceMs - a.sinceMs);
});

export const firing = computed(() => activeAlerts.value.filter((a) => a.alert.state === 'firing'));

async function poll(): Promise<void> {
  if (document.visibilityState === 'visible') {
    const [rules, state] = await Promise.allSettled([prom.rules(), vigie.status()]);
    if (rules.status === 'fulfilled') ruleGroups.value = rules.value;
    if (state.status === 'fulfilled') status.value = state.value;
    offline.value = rules.status === 'rejected' && state.status === 'rejected';
  }
  window.setTimeout(poll, POLL_MS);
}

export function startLive(): void {
  void poll();
}
