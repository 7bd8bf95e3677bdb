{{- define "cryptomesh.labels" -}}
app.kubernetes.io/name: cryptomesh
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "cryptomesh.selector" -}}
app.kubernetes.io/name: cryptomesh
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end }}

{{- define "cryptomesh.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end }}
