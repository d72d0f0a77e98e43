{{- define "wep.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Helm leaves it behind, so that its log can be read; uninstalling removes it. */ -}}
{{- define "wep.testPod" -}}{{ include "wep.fullname" . }}-test{{- end -}}
{{- define "wep.operator" -}}{{ include "wep.fullname" . }}-operator{{- end -}}
{{- define "wep.kafka" -}}{{ .Values.kafka.name | default (printf "%s-kafka" .Release.Name) }}{{- end -}}
{{- define "wep.elasticsearch" -}}{{ .Values.elasticsearch.name | default (.Release.Name | trunc 36 | trimSuffix "-") }}{{- end -}}
{{- define "wep.connect" -}}{{ .Values.connect.name | default (printf "%s-connect" .Release.Name) }}{{- end -}}

{{- define "wep.serviceAccount" -}}
{{- .Values.operator.serviceAccount.name | default (ternary (include "wep.operator" .) "default" .Values.operator.serviceAccount.create) -}}
{{- end -}}

{{- /* Labels of every object; the second argument is the component. */ -}}
{{- define "wep.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{ include "wep.selector" . }}
app.kubernetes.io/part-of: web-event-pipeline
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end -}}

{{- define "wep.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* An image: registry, repository, and the digest or else the tag. */ -}}
{{- define "wep.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $name := list $root.Values.images.registry $image.repository | compact | join "/" -}}
{{- if $image.digest -}}{{ $name }}@{{ $image.digest }}{{- else -}}{{ $name }}:{{ $image.tag | default $root.Chart.AppVersion }}{{- end -}}
{{- end -}}

{{- /* The namespaces that the operator watches, as JSON; empty for all. The release's own is always
     among them, because the canary is there. */ -}}
{{- define "wep.namespaces" -}}
{{- if eq .Values.operator.watch.scope "all" -}}[]
{{- else -}}{{ prepend .Values.operator.watch.namespaces .Release.Namespace | uniq | toJson }}
{{- end -}}
{{- end -}}

{{- define "wep.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "wep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "wep.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* The metadata of Strimzi's or ECK's volumes. */ -}}
{{- define "wep.kafkaStorage" -}}
type: jbod
volumes:
  - id: 0
    kraftMetadata: shared
    {{- if .ephemeral }}
    type: ephemeral
    sizeLimit: {{ .size }}
    {{- else }}
    type: persistent-claim
    size: {{ .size }}
    deleteClaim: {{ .delete }}
    {{- with .storageClass }}
    class: {{ . }}
    {{- end }}
    {{- end }}
{{- end -}}

{{- /* A duration such as 1m30s in seconds. */ -}}
{{- define "wep.seconds" -}}
{{- $units := dict "s" 1 "m" 60 "h" 3600 "d" 86400 -}}{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+[smhd]" . -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int) (get $units (regexFind "[smhd]" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}
