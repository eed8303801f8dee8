// Package metrics counts the calls of an engine and serves metrics in Prometheus'
// format, on a unix socket or a loopback address.
//
// The doors do not know it: they tell a function what happens, and the commands put a
// Metrics there. What a store does is counted by package overlayzfs/storemetrics, which
// registers here. docs/metrics.md lists all of it.
package metrics
