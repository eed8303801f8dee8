// Package metrics counts the calls of an engine and serves metrics in Prometheus'
// format, on a unix socket or a loopback address.
//
// The doors do not import it: they call a function for each call, and the commands set it to
// Metrics.Call. Package overlayzfs/storemetrics counts the work of a store and registers
// here. docs/metrics.md lists all metrics.
package metrics
