// Package show writes a race's report for people: the table on the terminal, a
// plot, and the generated part of docs/performance.md.
//
// What figures mean is decided in integration/bench/judge.
package show
