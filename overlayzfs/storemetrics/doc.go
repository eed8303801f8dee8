// Package storemetrics counts what happens to a store of layers, for Prometheus.
//
// The core does not know this package. It calls an overlayzfs.Observer, and the doors' commands
// pass an Observer of this package (storemetrics.go). Waits for the disk are counted as they
// happen (barriers.go). The store is asked at each scrape (store.go). Package internal/metrics counts the calls of an
// engine, and serves all metrics. docs/metrics.md lists every metric, and a test in
// integration/dist compares.
package storemetrics
