{{/* Labels of all objects. Call with (dict "root" $ "component" "controller"). */}}
{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- $ours := dict "app.kubernetes.io/version" .root.Chart.AppVersion "app.kubernetes.io/part-of" "weir" "helm.sh/chart" $chart }}
{{ toYaml (merge (dict) .root.Values.commonLabels $ours) }}
{{- end }}

{{/* Labels that select: they never change. */}}
{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Annotations of all objects, with the key: nothing where there are none. */}}
{{- define "weir.annotations" -}}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The namespaces whose Secrets may be referred to, where that is restricted: the release's own is one of them. */}}
{{- define "weir.secretNamespaces" -}}
{{- with .Values.controller.secretNamespaces }}
{{- append . $.Release.Namespace | uniq | join " " }}
{{- end }}
{{- end }}

{{- define "weir.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "weir.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Has the metrics of a component scraped by Prometheus's operator. Call with (dict "root" $ "component" "controller"). */}}
{{- define "weir.serviceMonitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: weir-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "weir.labels" . | nindent 4 }}
    {{- with .root.Values.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- include "weir.annotations" .root | nindent 2 }}
spec:
  selector:
    matchLabels: {{- include "weir.selectorLabels" . | nindent 6 }}
  endpoints:
    - {port: metrics, path: /metrics, interval: {{ .root.Values.serviceMonitor.interval }}}
{{- end }}
