{{- /* Values that contradict each other. Each sentence names the mend; all are told at once. */ -}}
{{- define "wep.checks" -}}
{{- $v := .Values -}}
{{- $faults := list -}}
{{- $spec := $v.pipeline.spec -}}
{{- if and $v.kafka.create $v.kafka.existing -}}
{{- $faults = append $faults "kafka.existing is set and kafka.create is true: set kafka.create to false, or take kafka.existing away" -}}
{{- end -}}
{{- if and $v.elasticsearch.create $v.elasticsearch.existing -}}
{{- $faults = append $faults "elasticsearch.existing is set and elasticsearch.create is true: set elasticsearch.create to false, or take elasticsearch.existing away" -}}
{{- end -}}
{{- with $v.kafka.existing -}}
{{- if not (or .bootstrapServers .strimzi) -}}
{{- $faults = append $faults "kafka.existing names no brokers: set kafka.existing.bootstrapServers, or kafka.existing.strimzi" -}}
{{- end -}}
{{- end -}}
{{- if and $v.elasticsearch.existing (not $v.elasticsearch.existing.urls) -}}
{{- $faults = append $faults "elasticsearch.existing names no node: set elasticsearch.existing.urls" -}}
{{- end -}}
{{- range $path, $part := dict "kafka.existing" $v.kafka.existing "elasticsearch.existing" $v.elasticsearch.existing "postgres.existing" $v.postgres.existing "s3.existing" $v.s3.existing -}}
{{- range $bad := include "wep.noSecret" (list $path $part) | fromJsonArray -}}
{{- $faults = append $faults $bad -}}
{{- end -}}
{{- end -}}
{{- if $v.pipeline.create -}}
{{- $kafka := $spec.kafka | default dict -}}
{{- if not (or $v.kafka.create $v.kafka.existing $kafka.bootstrapServers $kafka.strimzi) -}}
{{- $faults = append $faults "the pipeline has no Kafka: set kafka.create to true, or kafka.existing.bootstrapServers" -}}
{{- end -}}
{{- $index := $spec.index | default dict -}}
{{- $elasticsearch := $spec.elasticsearch | default dict -}}
{{- if and (ne (toString $index.enabled) "false") (not (or $v.elasticsearch.create $v.elasticsearch.existing $elasticsearch.urls)) -}}
{{- $faults = append $faults "the pipeline has no Elasticsearch: set elasticsearch.create to true, elasticsearch.existing.urls, or pipeline.spec.index.enabled to false" -}}
{{- end -}}
{{- $store := $spec.store | default dict -}}{{- $loader := $spec.loader | default dict -}}{{- $postgres := $spec.postgres | default dict -}}
{{- if and (or $store.enabled $loader.enabled) (not (or $v.postgres.existing.host $postgres.host)) -}}
{{- $faults = append $faults "pipeline.spec.store or loader is enabled, but there is no PostgreSQL: set postgres.existing.host" -}}
{{- end -}}
{{- $archive := $spec.archive | default dict -}}{{- $s3 := $spec.s3 | default dict -}}
{{- if and $archive.enabled (not (or $v.s3.existing.endpoint $s3.endpoint)) -}}
{{- $faults = append $faults "pipeline.spec.archive is enabled, but there is no object store: set s3.existing.endpoint" -}}
{{- end -}}
{{- end -}}
{{- if $v.kafka.create -}}
{{- $controllers := int $v.kafka.controllers.replicas -}}
{{- if and $controllers (eq (mod $controllers 2) 0) -}}
{{- $faults = append $faults (printf "kafka.controllers.replicas is %d, and half of them is no majority: set an odd number, or 0" $controllers) -}}
{{- end -}}
{{- if and (not $controllers) (gt (int $v.kafka.brokers.replicas) 1) (eq (mod (int $v.kafka.brokers.replicas) 2) 0) -}}
{{- $faults = append $faults (printf "kafka.brokers.replicas is %d without controllers of their own, and half of them is no majority: set an odd number, or kafka.controllers.replicas to 3" (int $v.kafka.brokers.replicas)) -}}
{{- end -}}
{{- end -}}
{{- if $v.elasticsearch.create -}}
{{- $masters := int $v.elasticsearch.masters -}}
{{- if and $masters (ne $masters 3) -}}
{{- $faults = append $faults (printf "elasticsearch.masters is %d: set 3, or 0 for data nodes that are masters too" $masters) -}}
{{- end -}}
{{- if and (not $masters) (eq (int $v.elasticsearch.nodes) 2) -}}
{{- $faults = append $faults "elasticsearch.nodes is 2, and with one gone the other is no majority: set 1 or 3, or elasticsearch.masters to 3" -}}
{{- end -}}
{{- end -}}
{{- if and $v.kibana.create (not $v.elasticsearch.create) (not $v.kibana.elasticsearchSecret) -}}
{{- $faults = append $faults "kibana.create needs an Elasticsearch: set elasticsearch.create to true, kibana.elasticsearchSecret for one that exists, or kibana.create to false" -}}
{{- end -}}
{{- if $v.connect.create -}}
{{- if not (or $v.connect.image $v.connect.plugins) -}}
{{- $faults = append $faults "connect.create needs a connector: set connect.image to an image that holds Debezium, or connect.plugins" -}}
{{- end -}}
{{- if and (not $v.kafka.create) (not $v.kafka.existing.bootstrapServers) -}}
{{- $faults = append $faults "connect.create needs the brokers' addresses: set kafka.create to true, or kafka.existing.bootstrapServers" -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.operator.watch.scope "listed") (not $v.operator.watch.namespaces) -}}
{{- $faults = append $faults "operator.watch.scope is listed, but no namespace is: set operator.watch.namespaces, or scope to own" -}}
{{- end -}}
{{- if and (ne $v.operator.watch.scope "listed") $v.operator.watch.namespaces -}}
{{- $faults = append $faults (printf "operator.watch.namespaces is set, but operator.watch.scope is %s: set it to listed, or take the namespaces away" $v.operator.watch.scope) -}}
{{- end -}}
{{- if and (not $v.operator.serviceAccount.create) $v.operator.rbac (not $v.operator.serviceAccount.name) -}}
{{- $faults = append $faults "operator.serviceAccount.create is false, and roles would go to the namespace's default account: set operator.serviceAccount.name" -}}
{{- end -}}
{{- with $faults -}}
{{- fail (printf "\n\n- %s\n" (join "\n- " .)) -}}
{{- end -}}
{{- end -}}

{{- /* Connections that hold no reference to a Secret where pods need one: sentences as JSON. */ -}}
{{- define "wep.noSecret" -}}
{{- $path := index . 0 -}}{{- $found := list -}}
{{- range $key, $value := index . 1 -}}
{{- if kindIs "map" $value -}}
{{- range $inner := include "wep.noSecret" (list (printf "%s.%s" $path $key) $value) | fromJsonArray -}}
{{- $found = append $found $inner -}}
{{- end -}}
{{- else if and $value (hasSuffix "Env" $key) -}}
{{- $found = append $found (printf "%s.%s names a variable of no pod: set %sFile to secret:NAME/KEY" $path $key (trimSuffix "Env" $key)) -}}
{{- else if and $value (hasSuffix "File" $key) (not (regexMatch "^secret:[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9._-]+$" ($value | replace "{workload}" "w"))) -}}
{{- $found = append $found (printf "%s.%s is a file of no pod: write secret:NAME/KEY, which names a Secret" $path $key) -}}
{{- end -}}
{{- end -}}
{{- $found | toJson -}}
{{- end -}}

{{- /* Whether the cluster has what the release needs. Only a real API server has the API of API
     services; without one (helm template) nothing can be told, and nothing is. */ -}}
{{- define "wep.preflight" -}}
{{- if and .Values.preflight (.Capabilities.APIVersions.Has "apiregistration.k8s.io/v1") -}}
{{- $missing := list -}}
{{- if and .Values.kafka.create (not (.Capabilities.APIVersions.Has "kafka.strimzi.io/v1/Kafka")) -}}
{{- $missing = append $missing "kafka.create needs Strimzi 1.0 or newer, which is not installed (no API kafka.strimzi.io/v1): install it, or set kafka.create to false and kafka.existing.bootstrapServers" -}}
{{- end -}}
{{- if and .Values.connect.create (not (.Capabilities.APIVersions.Has "kafka.strimzi.io/v1/KafkaConnect")) -}}
{{- $missing = append $missing "connect.create needs Strimzi 1.0 or newer, which is not installed (no API kafka.strimzi.io/v1): install it, or set connect.create to false" -}}
{{- end -}}
{{- if and .Values.elasticsearch.create (not (.Capabilities.APIVersions.Has "elasticsearch.k8s.elastic.co/v1/Elasticsearch")) -}}
{{- $missing = append $missing "elasticsearch.create needs ECK, which is not installed (no API elasticsearch.k8s.elastic.co/v1): install it, or set elasticsearch.create to false and elasticsearch.existing.urls" -}}
{{- end -}}
{{- if and .Values.kibana.create (not (.Capabilities.APIVersions.Has "kibana.k8s.elastic.co/v1/Kibana")) -}}
{{- $missing = append $missing "kibana.create needs ECK, which is not installed (no API kibana.k8s.elastic.co/v1): install it, or set kibana.create to false" -}}
{{- end -}}
{{- if and .Values.monitoring.podMonitors (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) -}}
{{- $missing = append $missing "monitoring.podMonitors needs the Prometheus operator, which is not installed (no API monitoring.coreos.com/v1): install it, or set monitoring.podMonitors to false" -}}
{{- end -}}
{{- if and .Values.monitoring.prometheusRule (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule")) -}}
{{- $missing = append $missing "monitoring.prometheusRule needs the Prometheus operator, which is not installed (no API monitoring.coreos.com/v1): install it, or set monitoring.prometheusRule to false" -}}
{{- end -}}
{{- if and (not .Values.crds.create) .Values.pipeline.create (not (.Capabilities.APIVersions.Has "webevents.dev/v1alpha1/WebEventPipeline")) -}}
{{- $missing = append $missing "the cluster does not know WebEventPipeline: set crds.create to true, or apply manifests/crd" -}}
{{- end -}}
{{- with $missing -}}
{{- fail (printf "\n\n- %s\n" (join "\n- " .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
