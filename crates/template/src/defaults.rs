//! The default texts of messages, under the names that Alertmanager's users refer to.
//!
//! They say, in this order: state, what, how bad, where, the value, and where to click.
//! The texts are ours; only the names are Alertmanager's.

use gotmpl::parse::ListNode;
use std::sync::LazyLock;

/// Every definition, in English and French by `.Language`.
const TEXT: &str = r#"
{{ define "__alertmanager" }}Vigie{{ end }}
{{ define "__alertmanagerURL" }}{{ .ExternalURL }}/alerts{{ end }}
{{ define "vigie.status" }}
  {{- if eq .Status "firing" }}{{ if eq .Language "fr" }}ALERTE{{ else }}FIRING{{ end }}
    {{- if gt (len .Alerts.Firing) 1 }}:{{ len .Alerts.Firing }}{{ if .TruncatedAlerts }}+{{ end }}{{ end }}
  {{- else }}{{ if eq .Language "fr" }}RÉSOLU{{ else }}RESOLVED{{ end }}{{ end }}
{{- end }}
{{ define "vigie.name" }}
  {{- with .CommonLabels.alertname }}{{ . }}
  {{- else }}{{ with .GroupLabels }}{{ .Values | join " " }}{{ else }}{{ len .Alerts }} {{ if eq .Language "fr" }}alertes{{ else }}alerts{{ end }}{{ end }}{{ end }}
{{- end }}
{{ define "vigie.where" }}
  {{- with .CommonLabels.instance }} {{ . }}{{ else }}{{ with .CommonLabels.job }} {{ . }}{{ end }}{{ end }}
{{- end }}
{{ define "vigie.value" }}
  {{- if eq (len .Alerts) 1 }}{{ range .Alerts }}{{ .Value }}{{ end }}{{ end }}
{{- end }}
{{ define "__subject" }}[{{ template "vigie.status" . }}] {{ template "vigie.name" . }}
  {{- with .CommonLabels.severity }} ({{ . }}){{ end }}{{ template "vigie.where" . }}
{{- end }}
{{ define "__description" }}
  {{- with .CommonAnnotations.description }}{{ . }}{{ else }}{{ .CommonAnnotations.summary }}{{ end }}
{{- end }}
{{ define "__text_alert_list" }}
{{- range . }}
{{- if eq .Status "firing" }}🔴{{ else }}🟢{{ end }} {{ .Labels.alertname }}
  {{- with .Labels.instance }} {{ . }}{{ end }} — {{ if eq .Language "fr" }}valeur{{ else }}value{{ end }} {{ .Value }}
  {{- with .Annotations.summary }}
  {{ . }}{{ end }}
{{ end }}
{{- end }}
{{ define "pagerduty.default.description" }}{{ template "__subject" . }}
  {{- if .CommonAnnotations.summary }}{{ if eq .Language "fr" }}{{ "\u00a0: " }}{{ else }}: {{ end }}{{ .CommonAnnotations.summary }}{{ end }}
  {{- if eq (len .Alerts) 1 }} ({{ if eq .Language "fr" }}valeur{{ else }}value{{ end }} {{ template "vigie.value" . }}){{ end }}
{{- end }}
{{ define "pagerduty.default.client" }}{{ template "__alertmanager" . }}{{ end }}
{{ define "pagerduty.default.clientURL" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "pagerduty.default.instances" }}{{ template "__text_alert_list" . }}{{ end }}
{{ define "slack.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "slack.default.username" }}{{ template "__alertmanager" . }}{{ end }}
{{ define "slack.default.fallback" }}{{ template "slack.default.title" . }} | {{ template "slack.default.titlelink" . }}{{ end }}
{{ define "slack.default.callbackid" }}{{ end }}
{{ define "slack.default.pretext" }}{{ end }}
{{ define "slack.default.titlelink" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "slack.default.iconemoji" }}{{ end }}
{{ define "slack.default.iconurl" }}{{ end }}
{{ define "slack.default.footer" }}{{ end }}
{{ define "slack.default.text" }}{{ template "__text_alert_list" .Alerts }}
{{- with .CommonAnnotations.description }}{{ . }}
{{ end }}
{{- end }}
{{ define "sms.default.text" }}{{ template "vigie.status" . }} {{ template "vigie.name" . }}
  {{- with .CommonLabels.severity }} ({{ . }}){{ end }}{{ template "vigie.where" . }}
  {{- if eq (len .Alerts) 1 }} = {{ template "vigie.value" . }}{{ end }}
{{- end }}
"#;

static DEFINITIONS: LazyLock<Vec<(String, ListNode)>> = LazyLock::new(|| {
    let (_, definitions) =
        crate::parse("defaults", TEXT).expect("the default templates are tested to parse");
    definitions
});

/// The default templates, parsed and rewritten once.
pub(crate) fn definitions() -> &'static [(String, ListNode)] {
    &DEFINITIONS
}
