// Package dist has only tests: of the alert rules and the dashboard in dist/, and of
// docs/metrics.md. They compare what is asked for with what the doors export.
package dist
