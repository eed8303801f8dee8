// Package judge says what a race's figures mean: which targets are met, where a peer wins,
// and what is slower than in the last release. It is pure: reports in, verdicts out.
//
// Package race measures, package show prints.
package judge
