{{- define "exit137.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* A release that has the chart's name in its own is not named twice. */}}
{{- define "exit137.fullname" -}}
{{- $name := include "exit137.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What belongs to no namespace. No two releases have the same: neither a namespace nor a name has a colon. */}}
{{- define "exit137.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "exit137.fullname" .) -}}
{{- end -}}

{{/* Two releases never have the same: a namespace has no slash, and one name in it only once. */}}
{{- define "exit137.stateFolder" -}}
{{- default (printf "/var/lib/exit137/%s/%s" .Release.Namespace (include "exit137.fullname" .)) .Values.persistence.hostPath -}}
{{- end -}}

{{- define "exit137.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exit137.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of every object. */}}
{{- define "exit137.labels" -}}
{{- $own := dict "app.kubernetes.io/version" .Chart.AppVersion "app.kubernetes.io/managed-by" .Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- mergeOverwrite (deepCopy (default dict .Values.additionalLabels)) (fromYaml (include "exit137.selectorLabels" .)) $own | toYaml -}}
{{- end -}}

{{/* Of the pod: the chart's, and podLabels, which may replace those by which nobody finds it. */}}
{{- define "exit137.podLabels" -}}
{{- $own := merge (dict "exit137/tier" .Values.tier) (fromYaml (include "exit137.selectorLabels" .)) -}}
{{- $theirs := default dict .Values.podLabels -}}
{{- range $key := keys $own | sortAlpha -}}
{{- if hasKey $theirs $key -}}
{{- fail (printf "podLabels cannot have %q: the chart finds its pods by it; give that label another name" $key) -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite (fromYaml (include "exit137.labels" .)) $own $theirs | toYaml -}}
{{- end -}}

{{/* Another configuration makes other pods. */}}
{{- define "exit137.podAnnotations" -}}
{{- $theirs := default dict .Values.podAnnotations -}}
{{- if hasKey $theirs "checksum/config" -}}
{{- fail "podAnnotations cannot have \"checksum/config\": by it, another configuration makes other pods" -}}
{{- end -}}
{{- $checksum := include (print $.Template.BasePath "/configmap.yaml") . | sha256sum -}}
{{- merge (dict "checksum/config" $checksum) $theirs | toYaml -}}
{{- end -}}

{{- define "exit137.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "exit137.fullname" .) .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if and .Values.kubernetesApi.enabled .Values.rbac.create -}}
{{- fail "serviceAccount.name must be given where none is created: the role would be bound to the one of all pods of the namespace that name none" -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "exit137.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The files of the ConfigMap, each laid on the one before. */}}
{{- define "exit137.args" -}}
- --config=/etc/exit137/tier.yaml
{{- if .Values.config }}
- --config=/etc/exit137/config.yaml
{{- end }}
{{- end -}}

{{/* What the configuration refers to as ${env:…}. */}}
{{- define "exit137.env" -}}
# Where a Collector on this node listens.
- name: HOST_IP
  valueFrom:
    fieldRef:
      fieldPath: status.hostIP
# Where the kubelet asks for health.
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: K8S_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- range .Values.extraEnv }}
{{- if has .name (list "HOST_IP" "POD_IP" "K8S_NODE_NAME") }}
{{- fail (printf "extraEnv cannot have %q: the chart sets it" .name) }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Mounts below /proc and /sys/fs/cgroup, of cgroup v1 say, are read-only too where the kubelet can do that (1.31).
*/}}
{{- define "exit137.readOnly" -}}
readOnly: true
{{- if semverCompare ">=1.31.0-0" .Capabilities.KubeVersion.Version }}
recursiveReadOnly: IfPossible
{{- end }}
{{- end -}}
