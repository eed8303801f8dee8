// Package buildinfo holds the version of overlayzfs and the commit of the build. All
// programs and drivers of one build return the same.
package buildinfo
