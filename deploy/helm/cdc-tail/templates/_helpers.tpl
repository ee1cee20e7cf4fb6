{{- define "cdc-tail.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cdc-tail.selector" -}}
app.kubernetes.io/name: cdc-tail
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cdc-tail.labels" -}}
{{ include "cdc-tail.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "cdc-tail.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "cdc-tail.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* A variable that a key of a Secret holds. */}}
{{- define "cdc-tail.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key }}}
{{- end -}}

{{/* The container, alike in our DaemonSet and in Cassandra's own pods. */}}
{{- define "cdc-tail.container" -}}
{{- $sidecar := eq .Values.mode "sidecar" -}}
name: cdc-tail
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.cassandra.runAsUser }}
  runAsGroup: {{ .Values.cassandra.runAsGroup }}
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
ports:
  - {name: http, containerPort: 8080}
env:
  # The name of the node in checkpoints: it must outlive the pod.
  - name: CDC_TAIL_NODE
    valueFrom:
      fieldRef: {fieldPath: {{ ternary "metadata.name" "spec.nodeName" $sidecar }}}
  - name: CDC_TAIL_HTTP_HOST
    value: 0.0.0.0
  - name: CASSANDRA_HOST
    {{- if .Values.cassandra.host }}
    value: {{ .Values.cassandra.host | quote }}
    {{- else if $sidecar }}
    value: 127.0.0.1
    {{- else }}
    valueFrom:
      fieldRef: {fieldPath: status.hostIP}
    {{- end }}
  - name: CASSANDRA_PORT
    value: {{ .Values.cassandra.port | quote }}
  - name: CDC_TAIL_CASSANDRA_CDC_RAW
    value: {{ printf "%s/%s" .Values.cassandra.dataDirectory .Values.cassandra.cdcRaw | quote }}
  {{- with .Values.cassandra.existingSecret }}
  {{- include "cdc-tail.secretVariable" (dict "name" "CASSANDRA_USER" "secret" . "key" "username") | nindent 2 }}
  {{- include "cdc-tail.secretVariable" (dict "name" "CASSANDRA_PASSWORD" "secret" . "key" "password") | nindent 2 }}
  {{- end }}
  - name: POSTGRES_HOST
    value: {{ .Values.postgres.host | quote }}
  - name: POSTGRES_PORT
    value: {{ .Values.postgres.port | quote }}
  - name: POSTGRES_DB
    value: {{ .Values.postgres.database | quote }}
  {{- with .Values.postgres.existingSecret }}
  {{- include "cdc-tail.secretVariable" (dict "name" "POSTGRES_USER" "secret" . "key" "username") | nindent 2 }}
  {{- include "cdc-tail.secretVariable" (dict "name" "POSTGRES_PASSWORD" "secret" . "key" "password") | nindent 2 }}
  {{- end }}
  - name: CDC_TAIL_CASSANDRA_TLS_MODE
    value: {{ .Values.cassandra.tlsMode }}
  - name: CDC_TAIL_POSTGRES_TLS_MODE
    value: {{ .Values.postgres.tlsMode }}
  {{- if .Values.tls.caSecret }}
  - name: CDC_TAIL_CASSANDRA_TLS_CA
    value: /etc/cdc-tail/tls/ca.crt
  - name: CDC_TAIL_POSTGRES_TLS_CA
    value: /etc/cdc-tail/tls/ca.crt
  {{- end }}
  {{- if .Values.tls.httpSecret }}
  - name: CDC_TAIL_HTTP_TLS_CERTIFICATE
    value: /etc/cdc-tail/http/tls.crt
  - name: CDC_TAIL_HTTP_TLS_KEY
    value: /etc/cdc-tail/http/tls.key
  {{- end }}
  {{- range $name, $value := .Values.settings }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
# It waits for another holder of the node's lease to go, so its start may take a while.
startupProbe:
  httpGet: {path: /healthz, port: http, scheme: {{ include "cdc-tail.scheme" . }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http, scheme: {{ include "cdc-tail.scheme" . }}}
  periodSeconds: 15
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: http, scheme: {{ include "cdc-tail.scheme" . }}}
  periodSeconds: 10
  timeoutSeconds: 5
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - name: {{ ternary .Values.cassandra.volumeName "cassandra" $sidecar }}
    mountPath: {{ .Values.cassandra.dataDirectory }}
  {{- if .Values.tls.caSecret }}
  - name: cdc-tail-tls
    mountPath: /etc/cdc-tail/tls
    readOnly: true
  {{- end }}
  {{- if .Values.tls.httpSecret }}
  - name: cdc-tail-http
    mountPath: /etc/cdc-tail/http
    readOnly: true
  {{- end }}
{{- end -}}

{{/* Volumes that the container needs beside Cassandra's data. */}}
{{- define "cdc-tail.volumes" -}}
{{- if .Values.tls.caSecret }}
- name: cdc-tail-tls
  secret: {secretName: {{ .Values.tls.caSecret | quote }}}
{{- end }}
{{- if .Values.tls.httpSecret }}
- name: cdc-tail-http
  secret: {secretName: {{ .Values.tls.httpSecret | quote }}}
{{- end }}
{{- end -}}

{{/* How the process's own port is spoken to. A probe takes any certificate. */}}
{{- define "cdc-tail.scheme" -}}
{{ ternary "HTTPS" "HTTP" (ne .Values.tls.httpSecret "") }}
{{- end -}}
