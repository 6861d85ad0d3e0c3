"""Pages as Envoy 1.40 writes them."""

from __future__ import annotations

PAGE = r"""# TYPE envoy_cluster_upstream_rq_retry counter
envoy_cluster_upstream_rq_retry{envoy_cluster_name="model/a_b/grpc"} 2
envoy_cluster_upstream_rq_retry{envoy_cluster_name="model/m.1/http"} 1
envoy_cluster_upstream_rq_retry{envoy_cluster_name="model/m.1/http@copies"} 9
envoy_cluster_upstream_rq_retry_overflow{envoy_cluster_name="model/m.1/http"} 1
envoy_cluster_never_heard_of{envoy_cluster_name="model/m.1/http"} 1
# TYPE envoy_inferno_calls counter
envoy_inferno_calls{route="model a:b",grpc="OK",http="200"} 5
envoy_inferno_calls{route="model say \"x\"",grpc="",http="200"} 1
envoy_inferno_calls{route="quarantine m.1",grpc="UNAVAILABLE",http="200"} 1
envoy_inferno_calls{route="no-such-model",grpc="NOT_FOUND",http="200"} 3
envoy_inferno_calls{route="-",grpc="",http="0"} 1
envoy_inferno_refused{route="model m.1",details="local_rate_limited"} 4
envoy_inferno_refused{route="model m.1",details="upstream_reset_before_response_started{overflow}"} 2
envoy_inferno_refused{route="model m.1",details="something new"} 1
envoy_http_downstream_cx_active{envoy_http_conn_manager_prefix="public"} 3
envoy_http_downstream_cx_active{envoy_http_conn_manager_prefix="admin"} 1
envoy_server_memory_physical_size{} 1000
envoy_cluster_membership_total{envoy_cluster_name="model/m.1/grpc"} 2
envoy_listener_ssl_connection_error{envoy_listener_address="127.0.0.1_1"} 1
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="model/m.1/grpc",le="2.5"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="model/m.1/grpc",le="1000"} 2
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="model/m.1/grpc",le="+Inf"} 3
envoy_cluster_upstream_rq_time_sum{envoy_cluster_name="model/m.1/grpc"} 5000
envoy_cluster_upstream_rq_time_count{envoy_cluster_name="model/m.1/grpc"} 3
"""
MODELS = frozenset({"a:b", "m.1", 'say "x"'})
