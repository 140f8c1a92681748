{{- define "assay.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "assay.labels" -}}
app.kubernetes.io/name: assay
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "assay.selector" -}}
app.kubernetes.io/name: assay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "assay.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "assay.pod-security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "assay.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
capabilities: {drop: [ALL]}
{{- end }}

{{- define "assay.environment" -}}
- {name: ASSAY_SITE_URL, value: {{ .Values.site.url | quote }}}
- {name: ASSAY_ALLOWED_HOSTS, value: {{ join " " .Values.site.allowedHosts | quote }}}
- {name: ASSAY_OUTBOUND_ALLOW, value: {{ join " " .Values.site.outboundAllow | quote }}}
- {name: ASSAY_EMAIL_FROM, value: {{ .Values.site.emailFrom | quote }}}
{{- if .Values.site.trustProxy }}
- {name: ASSAY_TRUST_PROXY, value: "true"}
{{- end }}
- {name: ASSAY_STATE_DIR, value: /var/lib/assay}
- {name: SECRET_KEY_FILE, value: /run/secrets/assay/secret_key}
- {name: DATABASE_URL_FILE, value: /run/secrets/assay/database_url}
- {name: BROKER_URL_FILE, value: /run/secrets/assay/broker_url}
{{- if .Values.secretKeys.replica }}
- {name: REPLICA_DATABASE_URL_FILE, value: /run/secrets/assay/replica_database_url}
- {name: ASSAY_REPLICA_MAX_LAG, value: {{ .Values.site.replicaMaxLag | quote }}}
{{- end }}
{{- if .Values.secretKeys.previous }}
- {name: SECRET_KEY_PREVIOUS_FILE, value: /run/secrets/assay/secret_key_previous}
{{- end }}
{{- if .Values.secretKeys.email }}
- {name: ASSAY_EMAIL_URL_FILE, value: /run/secrets/assay/email_url}
{{- end }}
{{- end }}

{{- define "assay.mounts" -}}
- {name: state, mountPath: /var/lib/assay}
- {name: temporary, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets/assay, readOnly: true}
{{- end }}

{{- define "assay.volumes" -}}
- name: state
  {{- if eq .kind "prober" }}
  # It keeps nothing.
  emptyDir: {sizeLimit: 64Mi}
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ .root.Values.state.existingClaim | default (printf "%s-state" (include "assay.name" .root)) }}
  {{- end }}
- name: temporary
  emptyDir: {sizeLimit: 256Mi}
- name: secrets
  secret:
    secretName: {{ .root.Values.existingSecret }}
    defaultMode: 0440
{{- end }}

{{- define "assay.placing" -}}
serviceAccountName: {{ include "assay.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Spread the pods of one part over nodes, as far as there are any. */}}
{{- define "assay.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "assay.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "assay.skips" -}}
{{- if not .Values.image.digest -}}
checkov.io/skip1: "CKV_K8S_43=Which image is built is not known to the chart; image.digest pins it."
{{- end }}
{{- end }}
