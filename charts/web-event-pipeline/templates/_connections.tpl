{{- /* Where Kafka is, as a KafkaSpec in JSON; {} when only pipelines know. */ -}}
{{- define "wep.kafkaConnection" -}}
{{- if .Values.kafka.create -}}
{{- dict "strimzi" (dict "cluster" (include "wep.kafka" .) "namespace" .Release.Namespace "listener" "tls")
         "replicationFactor" (min 3 .Values.kafka.brokers.replicas) | toJson -}}
{{- else -}}
{{- .Values.kafka.existing | toJson -}}
{{- end -}}
{{- end -}}

{{- define "wep.elasticsearchConnection" -}}
{{- if .Values.elasticsearch.create -}}
{{- $name := include "wep.elasticsearch" . -}}
{{- dict "urls" (list (printf "https://%s-es-http.%s.svc:9200" $name .Release.Namespace))
         "username" "elastic"
         "passwordFile" (printf "secret:%s-es-elastic-user/elastic" $name)
         "tls" (dict "caFile" (printf "secret:%s-es-http-certs-public/ca.crt" $name)) | toJson -}}
{{- else -}}
{{- .Values.elasticsearch.existing | toJson -}}
{{- end -}}
{{- end -}}

{{- /* Kibana takes the users of its Elasticsearch. Of an existing one the chart knows no password. */ -}}
{{- define "wep.kibanaConnection" -}}
{{- if and .Values.kibana.create .Values.elasticsearch.create -}}
{{- $name := include "wep.elasticsearch" . -}}
{{- dict "url" (printf "https://%s-kb-http.%s.svc:5601" $name .Release.Namespace)
         "username" "elastic"
         "passwordFile" (printf "secret:%s-es-elastic-user/elastic" $name)
         "tls" (dict "caFile" (printf "secret:%s-kb-http-certs-public/ca.crt" $name)) | toJson -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "wep.connections" -}}
{{- $made := dict -}}
{{- range $name, $found := dict
      "kafka" (include "wep.kafkaConnection" . | fromJson)
      "elasticsearch" (include "wep.elasticsearchConnection" . | fromJson)
      "kibana" (include "wep.kibanaConnection" . | fromJson)
      "postgres" .Values.postgres.existing
      "s3" .Values.s3.existing -}}
{{- if $found -}}{{- $_ := set $made $name $found -}}{{- end -}}
{{- end -}}
{{- $made | toJson -}}
{{- end -}}

{{- /* NAME and KEY of a reference secret:NAME/KEY, as a JSON list. */ -}}
{{- define "wep.secretRef" -}}
{{- trimPrefix "secret:" . | splitList "/" | toJson -}}
{{- end -}}
