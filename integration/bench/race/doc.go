// Package race runs the race: what an engine asks of a storage driver, asked of
// every contender in turns on one pool, timed, and put into a report.
//
// Between two measurements the pool is synced and everybody's background work is
// over, so that nobody pays for what another wrote. Nothing is cold unless its
// row says so. Who runs lives in integration/bench/contenders, what the figures mean
// in integration/bench/judge.
package race
