// Package dist tests the alert rules and the dashboard in dist/, and docs/metrics.md: they
// may name exactly the metrics that the two doors export.
package dist
