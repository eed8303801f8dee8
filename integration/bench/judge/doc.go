// Package judge says what a race's figures mean: which targets are met, where a
// peer wins, and what got slower since the last release. It is pure: reports in,
// verdicts out.
//
// What is measured lives in integration/bench/race, how it is shown in
// integration/bench/show.
package judge
