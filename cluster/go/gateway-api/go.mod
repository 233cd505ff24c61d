// The definitions of the Gateway API, which the tests apply to the node. Nothing
// is built from it.
module ai-saas-platform/cluster/gateway-api

go 1.26.4

require sigs.k8s.io/gateway-api v1.3.0
