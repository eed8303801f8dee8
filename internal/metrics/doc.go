// Package metrics counts what a door and its store do, and serves the counts in
// Prometheus' format, on a unix socket or a loopback address.
//
// The core and the doors do not know it: they tell an overlayzfs.Observer and
// a function what happens, and the commands put a Metrics there. What is counted
// as it happens stands in calls.go, what is asked of the store at each scrape in
// store.go. docs/metrics.md lists all of it, and a test compares.
package metrics
