{{/* What exit137 does with what the tier gives it. `config` of the values is laid on this. */}}
{{- define "exit137.config" -}}
{{- $privileges := ne .Values.tier "minimal" -}}
{{- $processors := ternary (list "resource/node" "k8s_attributes") (list "resource/node") .Values.kubernetesApi.enabled -}}
receivers:
  container_lifecycle:
    root_path: /host
    storage: file_storage
    sources:
      # Each needs a socket.
      docker:
        enabled: {{ $privileges }}
      containerd:
        enabled: {{ $privileges }}
      cri:
        enabled: {{ $privileges }}
      # Needs CAP_SYSLOG.
      kernel_log:
        enabled: {{ $privileges }}

processors:
  # A container has the pod's name for a host name.
  resource/node:
    attributes:
      - key: host.name
        action: update
        value: ${env:K8S_NODE_NAME}
  {{- if .Values.kubernetesApi.enabled }}
  # Who owns the pod, by one watch of the node's pods.
  k8s_attributes: {}
  {{- end }}
  batch: {}

exporters:
  # A Collector that runs on each node and listens there (hostPort or hostNetwork).
  otlp_grpc:
    endpoint: ${env:HOST_IP}:4317
    tls:
      insecure: true
    sending_queue:
      # A kill counts as told when it has arrived: what nobody took until a stop or a crash, the next run tells.
      wait_for_result: true

extensions:
  health_check:
    endpoint: ${env:POD_IP}:{{ .Values.ports.health }}
  file_storage:
    directory: /var/lib/exit137

service:
  extensions: [health_check, file_storage]
  telemetry:
    metrics:
      readers:
        - pull:
            exporter:
              prometheus:
                # Others ask for it only where there is a Service or a PodMonitor.
                host: {{ if or .Values.service.enabled .Values.podMonitor.enabled }}${env:POD_IP}{{ else }}localhost{{ end }}
                port: {{ .Values.ports.metrics }}
  pipelines:
    metrics:
      receivers: [container_lifecycle]
      processors: [{{ append $processors "batch" | join ", " }}]
      exporters: [otlp_grpc]
    logs:
      receivers: [container_lifecycle]
      # Not batch, which takes what it is given before anybody has it.
      processors: [{{ join ", " $processors }}]
      exporters: [otlp_grpc]
{{- end -}}
