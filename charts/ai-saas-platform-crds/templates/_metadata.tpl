{{- /* Metadata that the values add to every custom resource definition. */ -}}
{{- define "ai-saas-platform-crds.metadata" -}}
labels:
  app.kubernetes.io/name: ai-saas-platform-crds
  app.kubernetes.io/instance: {{ .Release.Name }}
  app.kubernetes.io/part-of: ai-saas-platform
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
  {{- with .Values.crds.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or .Values.crds.keep .Values.crds.annotations }}
annotations:
  {{- if .Values.crds.keep }}
  helm.sh/resource-policy: keep
  {{- end }}
  {{- with .Values.crds.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
