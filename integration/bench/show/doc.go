// Package show presents a race's report: the table on the terminal, a plot, and the
// generated part of the results page.
//
// Package judge decides what figures mean.
package show
