{{- define "ai-saas-platform.name" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "ai-saas-platform.serviceAccountName" -}}
{{- default (include "ai-saas-platform.name" .) .Values.serviceAccount.name -}}
{{- end }}

{{- define "ai-saas-platform.selectorLabels" -}}
app.kubernetes.io/name: ai-saas-platform-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ai-saas-platform.labels" -}}
{{ include "ai-saas-platform.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: ai-saas-platform
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* The reference of an image: argument is a list of the image and the root. */ -}}
{{- define "ai-saas-platform.image" -}}
{{- $image := index . 0 -}}
{{- $root := index . 1 -}}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end }}
