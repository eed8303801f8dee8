// Package buildinfo says which version of overlayzfs a program is, and what
// commit it was built from. All programs and drivers of one build say the same.
package buildinfo
