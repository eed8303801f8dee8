// Package machine describes the machine that a race runs on, for its report.
package machine
