// Package result holds the measurements of a race: rows, contenders and samples, as values
// and as JSON. All figures are costs: less is better.
//
// Package race measures; package judge knows targets and former releases.
package result
