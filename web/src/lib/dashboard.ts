// Grafana's dashboard JSON (schema 39 and later) as far as it is drawn here. The server has already
// migrated older schemas; every field is still read as if it might be missing. Beside a text may
// stand another in French (`title_fr`): `inLanguage` takes the reader's. Names that overrides refer
// to (`legendFormat`, `renameByName`) stay, and their French is used where it is shown.
import { said } from './i18n';

export interface Target {
  refId?: string;
  expr?: string;
  legendFormat?: string;
  legendFormat_fr?: string;
  interval?: string;
  intervalFactor?: number;
  instant?: boolean;
  range?: boolean;
  format?: string;
  hide?: boolean;
  maxLines?: number;
  queryType?: string;
  datasource?: DataSourceRef;
}

export type DataSourceRef = { type?: string; uid?: string } | string | null;

export interface ThresholdStep { value: number | null; color: string }

export interface FieldConfig {
  unit?: string;
  decimals?: number | null;
  min?: number | null;
  max?: number | null;
  displayName?: string;
  noValue?: string;
  noValue_fr?: string;
  color?: { mode?: string; fixedColor?: string };
  thresholds?: { mode?: string; steps?: ThresholdStep[] };
  mappings?: Mapping[];
  custom?: CustomConfig;
}

export interface CustomConfig {
  drawStyle?: 'line' | 'bars' | 'points';
  lineInterpolation?: string;
  lineWidth?: number;
  lineStyle?: { fill?: string; dash?: number[] };
  fillOpacity?: number;
  showPoints?: string;
  spanNulls?: boolean | number;
  stacking?: { mode?: string; group?: string };
  axisPlacement?: string;
  axisSoftMin?: number;
  axisSoftMax?: number;
  scaleDistribution?: { type?: string; log?: number };
  thresholdsStyle?: { mode?: string };
  transform?: string;
  hideFrom?: { viz?: boolean; legend?: boolean; tooltip?: boolean };
  align?: string;
  width?: number;
  hidden?: boolean;
  cellOptions?: { type?: string; mode?: string };
  displayMode?: string;
}

export interface Mapping {
  type: string;
  options?: Record<string, unknown>;
}

export interface Override {
  matcher: { id: string; options?: unknown };
  properties: { id: string; value?: unknown }[];
}

export interface PanelOptions {
  legend?: { displayMode?: string; placement?: string; calcs?: string[]; showLegend?: boolean; sortBy?: string; sortDesc?: boolean };
  reduceOptions?: { calcs?: string[]; fields?: string; values?: boolean };
  colorMode?: string;
  graphMode?: string;
  textMode?: string;
  justifyMode?: string;
  orientation?: string;
  displayMode?: string;
  mode?: string;
  content?: string;
  pieType?: string;
  sortBy?: { displayName: string; desc?: boolean }[];
  wrapLogMessage?: boolean;
  showTime?: boolean;
  showLabels?: boolean;
  sortOrder?: string;
}

export interface Transformation { id: string; options?: Record<string, unknown>; disabled?: boolean }

export interface Panel {
  id: number;
  type: string;
  title: string;
  title_fr?: string;
  description?: string;
  description_fr?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets: Target[];
  datasource?: DataSourceRef;
  options: PanelOptions;
  fieldConfig: { defaults: FieldConfig; overrides: Override[] };
  transformations: Transformation[];
  interval?: string;
  maxDataPoints?: number | null;
  timeFrom?: string;
  transparent?: boolean;
  collapsed?: boolean;
  panels?: Panel[];
  repeat?: string;
  repeatDirection?: string;
  maxPerRow?: number;
  links?: { title?: string; url?: string; targetBlank?: boolean }[];
  /** Values of a repeated variable, for this copy only. */
  scoped?: Record<string, string>;
}

export interface Variable {
  name: string;
  type: string;
  label?: string;
  hide?: number;
  query?: unknown;
  definition?: string;
  current?: { value?: string | string[]; text?: string | string[] };
  options?: { value: string; text: string; selected?: boolean }[];
  regex?: string;
  sort?: number;
  multi?: boolean;
  includeAll?: boolean;
  allValue?: string | null;
  auto?: boolean;
  auto_count?: number;
  auto_min?: string;
  datasource?: DataSourceRef;
}

export interface Dashboard {
  uid: string;
  title: string;
  title_fr?: string;
  description: string;
  description_fr?: string;
  tags: string[];
  time: { from: string; to: string };
  refresh: string;
  panels: Panel[];
  variables: Variable[];
  sharedCrosshair: boolean;
}

type Raw = Record<string, unknown>;

export function readDashboard(raw: unknown): Dashboard {
  const d = (raw ?? {}) as Raw;
  const time = (d.time ?? {}) as { from?: string; to?: string };
  return {
    uid: String(d.uid ?? ''),
    title: String(d.title ?? ''),
    description: String(d.description ?? ''),
    ...(typeof d.title_fr === 'string' ? { title_fr: d.title_fr } : {}),
    ...(typeof d.description_fr === 'string' ? { description_fr: d.description_fr } : {}),
    tags: Array.isArray(d.tags) ? (d.tags as string[]) : [],
    time: { from: time.from ?? 'now-6h', to: time.to ?? 'now' },
    refresh: typeof d.refresh === 'string' ? d.refresh : '',
    panels: ((d.panels as Raw[] | undefined) ?? []).map(readPanel),
    variables: ((d.templating as { list?: Variable[] } | undefined)?.list ?? []).filter((v) => v.name),
    sharedCrosshair: d.graphTooltip !== 0,
  };
}

function readPanel(raw: Raw, index: number): Panel {
  const grid = (raw.gridPos ?? {}) as Partial<Panel['gridPos']>;
  const field = (raw.fieldConfig ?? {}) as Partial<Panel['fieldConfig']>;
  const panel = raw as unknown as Panel;
  return {
    ...panel,
    id: Number(raw.id ?? 10_000 + index),
    type: String(raw.type ?? ''),
    title: String(raw.title ?? ''),
    gridPos: { x: grid.x ?? 0, y: grid.y ?? 0, w: grid.w ?? 12, h: grid.h ?? 8 },
    targets: (raw.targets as Target[] | undefined) ?? [],
    options: (raw.options as PanelOptions | undefined) ?? {},
    fieldConfig: { defaults: field.defaults ?? {}, overrides: field.overrides ?? [] },
    transformations: (raw.transformations as Transformation[] | undefined) ?? [],
    panels: ((raw.panels as Raw[] | undefined) ?? []).map(readPanel),
  };
}

/** The same dashboard with the titles, descriptions and notes of the reader's language. */
export function inLanguage(dashboard: Dashboard): Dashboard {
  return { ...dashboard, ...heading(dashboard), panels: dashboard.panels.map(panelInLanguage) };
}

const heading = (of: Dashboard | Panel): { title: string; description: string } =>
  ({ title: said(of, 'title') ?? '', description: said(of, 'description') ?? '' });

function panelInLanguage(panel: Panel): Panel {
  const { defaults, overrides } = panel.fieldConfig;
  const noValue = said(defaults, 'noValue');
  return {
    ...panel,
    ...heading(panel),
    fieldConfig: noValue === undefined ? panel.fieldConfig : { defaults: { ...defaults, noValue }, overrides },
    panels: panel.panels?.map(panelInLanguage) ?? [],
  };
}

export interface Section {
  row: Panel | undefined;
  panels: Panel[];
}

/** Rows divide the panels; each section is laid out by itself, so that it can be folded. */
export function sections(panels: Panel[]): Section[] {
  const ordered = [...panels].sort((a, b) => a.gridPos.y - b.gridPos.y || a.gridPos.x - b.gridPos.x);
  const found: Section[] = [{ row: undefined, panels: [] }];
  for (const panel of ordered) {
    if (panel.type === 'row') found.push({ row: panel, panels: [...(panel.panels ?? [])] });
    else found[found.length - 1]?.panels.push(panel);
  }
  return found.filter((s) => s.row || s.panels.length > 0);
}

export type SourceKind = 'prometheus' | 'loki' | 'other';

/** Any source of type prometheus or loki, and any that is not known, is the built-in one. */
export function sourceKind(panel: Panel, target: Target): SourceKind {
  const ref = target.datasource ?? panel.datasource;
  const type = typeof ref === 'object' && ref ? (ref.type ?? '') : '';
  const text = typeof ref === 'string' ? ref : (ref?.uid ?? '');
  if (/loki/i.test(type) || (!type && /loki/i.test(text))) return 'loki';
  if (!type || /prometheus|mimir|victoria|^datasource$|mixed|grafana/i.test(type)) {
    // A query that starts with a log selector and has a filter can only be Loki's.
    return /^\s*\{[^}]*\}\s*(\|=|\|~|!=|!~|\|)/.test(target.expr ?? '') ? 'loki' : 'prometheus';
  }
  return 'other';
}
