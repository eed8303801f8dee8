// Package storemetrics counts what a store of layers does, for Prometheus.
//
// The core does not know it: it tells an overlayzfs.Observer what happens, and the
// doors' commands put an Observer of this package there. Waits for the disk are counted
// as they happen (barriers.go); the store is asked at each scrape (store.go). The calls
// of an engine are counted by package internal/metrics, which serves all of it.
// docs/metrics.md lists every metric, and a test in integration/dist compares.
package storemetrics
